"""Find the batch that a user names by its id, the beginning of its id, or `latest`."""

from difflib import get_close_matches
from itertools import islice

from batchchat.cli.backends.open import open_backend
from batchchat.cli.backends.protocol import Backend
from batchchat.jobs.errors import NotFoundError, UsageError
from batchchat.jobs.files.reused_batches import AUTO, NONE, check_reuse
from batchchat.jobs.ids import batch_id_prefix, is_batch_id, not_found_message

LATEST = "latest"
"""Names the batch that was created last."""

_MAX_CANDIDATES = 5
_MAX_COMPARED = 100
"""How many of the newest ids are compared with one that does not exist."""

_MIN_SIMILARITY = 0.85
"""Ids that were made within days share about half of their characters anyway."""

_LIST = "list the batches with `batchchat list`"


def open_batch(reference: str) -> tuple[Backend, str]:
    """Return the backend that the settings select, and the id of a batch in it.

    Raises:
        NotFoundError: there is no such batch.
        UsageError: several ids begin with `reference`; the error names them.

    """
    backend = open_backend()
    return backend, resolve_batch(backend, reference)


def resolve_batch(backend: Backend, reference: str) -> str:
    """Return the id of the batch that `reference` names; see `open_batch`."""
    if reference == LATEST:
        return _latest(backend)
    prefix = batch_id_prefix(reference)
    if prefix is None:
        raise NotFoundError(
            not_found_message("batch", reference),
            hint="name a batch by its ID (`batch_0199…`), the beginning of its ID, or"
            f" `{LATEST}`; {_LIST}",
        )
    if is_batch_id(prefix):
        return _existing(backend, prefix)
    found = list(islice(backend.batch_ids(prefix), _MAX_CANDIDATES + 1))
    if len(found) > 1:
        raise _ambiguous(reference, found)
    return found[0] if found else _not_found(backend, reference, prefix)


def reuse_names(backend: Backend, typed: list[str] | None) -> tuple[str, ...]:
    """Return what a batch reuses: the ids of the batches that a user named.

    `auto` and `none` stay as they are. Raises the errors of `open_batch`.
    """
    if not typed:
        return backend.default_reuse
    check_reuse(tuple(typed))
    return tuple(
        name if name in (AUTO, NONE) else resolve_batch(backend, name) for name in typed
    )


def _latest(backend: Backend) -> str:
    for batch_id in backend.batch_ids():
        return batch_id
    raise NotFoundError(
        "there are no batches",
        hint="submit one with `batchchat submit requests.jsonl --model demo`",
    )


def _existing(backend: Backend, batch_id: str) -> str:
    try:
        backend.check_batch(batch_id)
    except NotFoundError:
        _not_found(backend, batch_id, batch_id)
    return batch_id


def _not_found(backend: Backend, reference: str, prefix: str) -> str:
    """Raise `NotFoundError`, with the ids that are most similar to `prefix`."""
    recent = islice(backend.batch_ids(), _MAX_COMPARED)
    by_prefix = {batch_id[: len(prefix)]: batch_id for batch_id in recent}
    near = get_close_matches(prefix, by_prefix, cutoff=_MIN_SIMILARITY)
    hint = _LIST
    if near:
        names = " or ".join(f"`{by_prefix[one]}`" for one in near)
        hint = f"did you mean {names}? {_LIST}"
    raise NotFoundError(not_found_message("batch", reference), hint=hint)


def _ambiguous(reference: str, found: list[str]) -> UsageError:
    names = ", ".join(f"`{batch_id}`" for batch_id in found[:_MAX_CANDIDATES])
    more = " and others" if len(found) > _MAX_CANDIDATES else ""
    return UsageError(
        f"the IDs of several batches begin with `{reference}`: {names}{more}",
        hint="type more characters of the ID",
    )
