"""Finds the requests of a batch that ended batches have already answered."""

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing
from struct import Struct
from typing import NamedTuple

import msgspec

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import (
    BatchchatError,
    ConflictError,
    CorruptObjectError,
    ObjectMissingError,
    StorageError,
)
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.planned_reuse import ReusedBatch
from batchchat.jobs.ledger.records import Batch, Plan
from batchchat.jobs.ledger.state import State
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.reuse.answer_index import BUCKETS, AnswerIndex, Place
from batchchat.jobs.reuse.digested_lines import digested_lines
from batchchat.jobs.reuse.index_building import open_index
from batchchat.jobs.reuse.request_digest import DIGEST_BYTES
from batchchat.jobs.reuse.reuse_map import MapBuilder
from batchchat.jobs.reuse.spooled_records import SpooledRecords

log = logging.getLogger(__name__)

_HINT = "reuse a batch that has answers of the same model"

_RECORD = Struct(f">{DIGEST_BYTES}sI")


class Source(NamedTuple):
    """An ended batch whose answers may be used again, and its index."""

    state: State
    answers: AnswerIndex

    @property
    def reused(self) -> ReusedBatch:
        """How a plan names it."""
        final = self.state.final
        return ReusedBatch(self.state.batch.id, str(final and final.output_file_id))


class Found(NamedTuple):
    """What a search has found; `answers` must be closed."""

    sources: list[ReusedBatch]
    answers: MapBuilder


def find_answers(
    ledger: Ledger,
    batch: Batch,
    plan: Plan,
    chunks: Iterable[bytes],
    renderers: RendererRegistry,
) -> Found:
    """Return which requests of a planned batch its `reuse` batches have answered.

    `chunks` is the batch's input. A batch that can't be used is left out and logged.
    Memory does not grow with the batches: it holds a 256th of each of them.

    Raises:
        StorageError: the storage is not available.

    """
    opener = _Opener(ledger, batch, plan.require_model(), renderers)
    with closing(SpooledRecords(_RECORD.size, BUCKETS)) as lines:
        last = 0
        for last, digest in digested_lines(batch, plan, chunks, renderers):
            lines.add(digest[0], _RECORD.pack(digest, last))
        sources = opener.open_all()
        answers, corrupt = _search(lines, last, sources)
        if corrupt:
            answers.close()
            sources = opener.open_all(made_again=corrupt)
            answers, _ = _search(lines, last, sources)
    return Found([one.reused for one in sources], answers)


def _search(
    lines: SpooledRecords, last_line: int, sources: list[Source]
) -> tuple[MapBuilder, set[str]]:
    """Return the answers found, and the batches whose index is corrupt."""
    corrupt: set[str] = set()
    indexes = [_buckets(source, corrupt) for source in sources]
    with ExitStack() as stack:
        answers = stack.enter_context(closing(MapBuilder(last_line)))
        for bucket, *places in zip(lines, *indexes, strict=True):
            _search_bucket(bucket, places, answers)
        stack.pop_all()  # the caller closes it
    return answers, corrupt


def _buckets(source: Source, corrupt: set[str]) -> Iterator[dict[bytes, Place]]:
    """Yield the buckets of an index, empty ones from where it is corrupt."""
    read = 0
    try:
        for places in source.answers.buckets():
            read += 1
            yield places
    except (CorruptObjectError, ObjectMissingError) as error:
        log.warning("%s", error)
        corrupt.add(source.state.batch.id)
        yield from ({} for _ in range(BUCKETS - read))


def _search_bucket(
    bucket: list[bytes], places: list[dict[bytes, Place]], answers: MapBuilder
) -> None:
    for digest, line in map(_RECORD.unpack, bucket):
        for source, found in enumerate(places):
            place = found.get(digest)
            if place is not None:
                answers.add(line, source, place)
                break


class _Opener:
    """Opens the batches whose answers a batch may use."""

    def __init__(
        self, ledger: Ledger, batch: Batch, model: Model, renderers: RendererRegistry
    ) -> None:
        self._ledger = ledger
        self._batch = batch
        self._model = model
        self._renderers = renderers

    def open_all(self, made_again: Collection[str] = ()) -> list[Source]:
        """Return the batches that can be used; some indexes are `made_again`."""
        found = []
        for batch_id in self._batch.reuse:
            try:
                found.append(self._open(batch_id, again=batch_id in made_again))
            except BatchchatError as error:
                if isinstance(error, StorageError) and error.retryable:
                    raise
                text = "`%s` reuses no answers of `%s`: %s"
                log.warning(text, self._batch.id, batch_id, error.message)
        return found

    def _open(self, batch_id: str, *, again: bool) -> Source:
        state = self._ledger.state(batch_id)
        self._check(state)
        index = open_index(self._ledger, state, self._renderers, again=again)
        return Source(state, index)

    def _check(self, state: State) -> None:
        """Check that the batch has answers of the same model."""
        final, used = state.final, state.plan.model if state.plan else None
        if final is None or final.output_file_id is None or used is None:
            raise ConflictError("it has no completed requests", hint=_HINT)
        across = self._batch.reuse_across_engines
        key = _weights if across else _without_names
        if key(used) != key(self._model):
            raise ConflictError("it has answers of another model", hint=_HINT)
        self._ledger.storage.size(self._ledger.keys.content(final.output_file_id))


def _weights(model: Model) -> object:
    return model.source, model.revision


def _without_names(model: Model) -> object:
    """Return what determines the prompts and the answers of a model."""
    return msgspec.structs.replace(
        model, name="", aliases=[], description="", engine={}, price=None, gpu_hour=None
    )
