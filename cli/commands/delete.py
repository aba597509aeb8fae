"""`batchchat delete`: delete a batch with its results."""

from typing import TYPE_CHECKING

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count, size

if TYPE_CHECKING:
    from batchchat.cli.backends.protocol import Backend
    from batchchat.jobs.deletion.deletion import Removal


def delete(
    batch_id: options.BatchId,
    yes: options.Yes = False,
    keep_input: options.KeepInput = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> int:
    """Delete an ended batch with its results and its input.

    The input stays if another batch reads it, and so do files that were written to
    other places.

    batchchat delete batch_0199… --yes
    """
    from batchchat.cli.backends.open import open_backend
    from batchchat.cli.terminal.confirmation import check_can_ask, confirmed

    check_can_ask(yes=yes or dry_run)
    backend = open_backend()
    found_id = _resolve(backend, batch_id)
    planned = backend.delete(found_id, keep_input=keep_input, dry_run=True)
    question = f"delete `{found_id}` ({described(planned)})?"
    if not dry_run and not confirmed(question, yes=yes):
        return 1
    done = (
        planned
        if dry_run
        else backend.delete(found_id, keep_input=keep_input, dry_run=False)
    )
    if json:
        streams.print_json(as_object(done) | {"deleted": not dry_run})
    else:
        streams.print_data(found_id)
        streams.info(f"{'would free' if dry_run else 'freed'} {described(done)}")
    return 0


def described(removal: "Removal") -> str:
    """Return what a deletion removes, in a few words."""
    text = f"{size(removal.bytes)} in {count(removal.objects, 'object')}"
    return f"{text}, the input is kept" if removal.keeps_input else text


def as_object(removal: "Removal") -> dict[str, object]:
    """Return what a deletion removes as JSON."""
    return {
        "id": removal.batch_id,
        "object": "batch",
        "objects": removal.objects,
        "bytes": removal.bytes,
        "input_kept": removal.keeps_input,
    }


def _resolve(backend: "Backend", reference: str) -> str:
    """Return the id of a batch, also of one whose deletion was interrupted."""
    from batchchat.cli.backends.resolve import resolve_batch
    from batchchat.jobs.errors import NotFoundError

    try:
        return resolve_batch(backend, reference)
    except NotFoundError as error:
        try:
            backend.delete(reference, keep_input=False, dry_run=True)
        except NotFoundError:
            raise error from None
        return reference
