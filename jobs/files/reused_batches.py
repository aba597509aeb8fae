"""Finds the ended batches whose answers a new batch uses again.

A new batch names them by their ids, or asks for all recent ones with `auto`. It gets
the seed and the time of the first of them, unless it has its own: the seeds of requests
without one follow from the batch's, and templates may read the time, so unchanged
requests would otherwise differ. While it is not ended, it counts as a reader of their
results, which therefore can't be deleted.
"""

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from batchchat.jobs.errors import (
    ConflictError,
    CorruptObjectError,
    NewerFormatError,
    NotFoundError,
    UsageError,
)
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.readers import add_reader
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.ledger.state import State

AUTO = "auto"
NONE = "none"

MAX_REUSED_BATCHES = 100
"""Batches that may be named."""

_MAX_AUTO = 10
_MAX_SEARCHED = 200
"""The newest batches, of which up to `_MAX_AUTO` are reused with `auto`."""


def check_reuse(names: tuple[str, ...]) -> None:
    """Check what was named. Raises `UsageError`."""
    special = {AUTO, NONE} & {*names}
    if special and len(names) > 1:
        raise UsageError(
            f"`{min(special)}` can't be combined with other batches to reuse",
            hint=f"name `{AUTO}`, `{NONE}`, or the IDs of batches",
        )
    if len(names) > MAX_REUSED_BATCHES:
        raise UsageError(
            f"at most {MAX_REUSED_BATCHES} batches can be reused",
            hint="name the newest ones: a batch also has the answers that it reused",
        )


def with_reused_batches(
    ledger: Ledger, options: BatchOptions, batch_id: str | None, model: str | None
) -> BatchOptions:
    """Return the options with the ids of the batches to reuse, which are marked.

    `batch_id` is the new batch, or None if nothing is to be marked, and `model` is the
    name of its model, if known.

    Raises:
        UsageError: the batches can't be combined.
        NotFoundError: there is no such batch, or its results were deleted.
        ConflictError: it has no results.

    """
    check_reuse(options.reuse)
    if options.reuse in ((), (NONE,)):
        return replace(options, reuse=())
    if options.reuse == (AUTO,):
        found = list(islice(_recent(ledger, model, batch_id), _MAX_AUTO))
    else:
        named = dict.fromkeys(options.reuse)
        for name in named:  # mark none of them unless all can be reused
            _marked(ledger, name, None)
        found = [_marked(ledger, name, batch_id).batch for name in named]
    if not found:
        return replace(options, reuse=())
    return _pinned(replace(options, reuse=tuple(batch.id for batch in found)), found[0])


def _pinned(options: BatchOptions, first: Batch) -> BatchOptions:
    """Return the options with the seed and the time of `first`, unless they are set."""
    return replace(
        options,
        seed=first.seed if options.seed is None else options.seed,
        prompt_time=first.prompt_time
        if options.prompt_time is None
        else options.prompt_time,
    )


def _recent(ledger: Ledger, model: str | None, reader: str | None) -> Iterator[Batch]:
    """Yield the last ended batches with results of the model; they are marked."""
    for batch in islice(ledger.batches(), _MAX_SEARCHED):
        try:
            if model in (None, _model(ledger, batch)):
                yield _marked(ledger, batch.id, reader).batch
        except (ConflictError, NotFoundError, CorruptObjectError, NewerFormatError):
            continue


def _model(ledger: Ledger, batch: Batch) -> str | None:
    plan = ledger.plan(batch.id)
    return plan.model.name if plan and plan.model else None


def _marked(ledger: Ledger, batch_id: str, reader: str | None) -> State:
    """Return an ended batch after marking it and its output as read by `reader`."""
    state = ledger.state(batch_id)
    if state.final is None:
        raise ConflictError(
            f"`{batch_id}` can't be reused: its status is {state.status}",
            hint=f"wait for its end with `batchchat watch {batch_id}`",
        )
    if state.final.output_file_id is None:
        raise ConflictError(
            f"`{batch_id}` can't be reused: it has no completed requests",
            hint="name another batch, or none",
        )
    files, output = Files(ledger), state.final.output_file_id
    if reader is not None:
        add_reader(ledger, batch_id, reader)
    try:
        files.use(output, reader) if reader else files.get(output)
    except NotFoundError:
        raise NotFoundError(
            f"`{batch_id}` can't be reused: its output file was deleted",
            hint="name another batch, or none",
        ) from None
    return state
