"""Delete batches of a server."""

from collections.abc import Callable, Iterator

import msgspec

from batchchat.cli.backends.batch_view import View
from batchchat.cli.client.http_client import ServerClient
from batchchat.jobs.deletion.deletion import Removal
from batchchat.jobs.deletion.pruning import Kept
from batchchat.jobs.errors import ConflictError, NotFoundError
from batchchat.jobs.ids import checked_id, last_id_with, smallest_id_at
from batchchat.jobs.ledger.batch_object import BatchObject


class _Deleted(msgspec.Struct):
    """What the server has deleted, or would delete."""

    objects: int
    bytes: int
    input_kept: bool


def request_deletion(
    server: ServerClient, batch_id: str, *, keep_input: bool, dry_run: bool
) -> bytes:
    """Have a server delete a batch; return the response."""
    path = f"batches/{checked_id('batch', batch_id)}"
    asked = {"keep_input": keep_input, "dry_run": dry_run}
    params = {name: "true" for name, is_set in asked.items() if is_set}
    return server.delete(path, **params)


def read_removal(batch_id: str, text: bytes) -> Removal:
    """Decode the response to a deletion. Raises `msgspec.MsgspecError`."""
    done = msgspec.json.decode(text, type=_Deleted)
    return Removal(batch_id, done.objects, done.bytes, done.input_kept)


def prune_batches(
    newest_first: Callable[[str], Iterator[View]],
    delete: Callable[[str], Removal],
    before: int,
) -> Iterator[Removal | Kept]:
    """Delete the batches that ended before a time; see `Backend.prune`."""
    for view in newest_first(last_id_with(smallest_id_at("batch", before))):
        batch = view.batch
        if not batch.is_over or _ended_at(batch) > before:
            continue
        try:
            yield delete(batch.id)
        except ConflictError as error:
            yield Kept(batch.id, error.message)
        except NotFoundError:  # another process has just deleted it
            continue


def _ended_at(batch: BatchObject) -> int:
    ends = batch.completed_at, batch.failed_at, batch.expired_at, batch.cancelled_at
    return max(end or 0 for end in ends)
