"""Copies the answers of earlier batches to the results of a shard.

An answer is checked when it is copied, not when it is planned: its engine must have the
fingerprint of the one that would run the request, and its line in the output file of
the earlier batch must be whole. If not, the request is run.
"""

import logging
import zlib
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.execution import output_lines
from batchchat.jobs.execution.checkpoint_writer import CheckpointWriter
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.execution.shard_reader import ShardReader
from batchchat.jobs.ids import request_id
from batchchat.jobs.ledger.checkpoint import Result
from batchchat.jobs.ledger.planned_reuse import Reuse, ReusedBatch
from batchchat.jobs.ledger.records import Shard
from batchchat.jobs.requests.parser import InvalidLine
from batchchat.jobs.requests.schema import Request
from batchchat.jobs.reuse.reuse_map import EarlierAnswer, read_map
from batchchat.jobs.storage import Storage

log = logging.getLogger(__name__)

_READ_BYTES = 4 * 1024 * 1024
"""Most bytes of an output file that are read at once, unless a line is longer."""

_MAX_GAP_BYTES = 64 * 1024
"""Unwanted bytes that are read rather than making another call."""

Body = dict[str, msgspec.Raw]


class _Response(msgspec.Struct):
    body: Body


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response


_line = msgspec.json.Decoder(_Line)
_text = msgspec.json.Decoder(str)


class ReusedAnswers:
    """The earlier answers for one shard."""

    def __init__(
        self, context: BatchContext, shard: Shard, writer: CheckpointWriter
    ) -> None:
        """Add results to `writer`."""
        self._context = context
        self._shard = shard
        self._writer = writer

    def copy(self, reader: ShardReader) -> None:
        """Checkpoint the results that need not be computed.

        Raises:
            StorageError: the storage is not available.

        """
        reuse, shard = self._context.reuse, self._shard
        if reuse is None or shard.earlier_answers is None:
            return
        key = self._context.keys.reuse_map(reuse.map)
        try:
            planned = read_map(self._context.storage, key, shard.earlier_answers)
        except (CorruptObjectError, ObjectMissingError) as error:
            log.warning("requests are run instead of reused: %s", error)
            return
        wanted = [one for one in planned if one.line not in self._writer.lines]
        if wanted:
            self._copy(reuse, wanted, reader)
        self._writer.flush()

    def _copy(
        self, reuse: Reuse, wanted: list[EarlierAnswer], reader: ShardReader
    ) -> None:
        """Copy the answers, batch by batch, in the order of the batch's output."""
        lines = {answer.line for answer in wanted}
        requests = {
            line.number: request
            for line in reader.pending_lines(done=self._writer.lines)
            if line.number in lines
            and not isinstance(request := reader.parse(line), InvalidLine)
        }
        for source, group in groupby(
            sorted(wanted, key=attrgetter("source", "place.offset")),
            key=attrgetter("source"),
        ):
            self._copy_from(reuse.sources[source], list(group), requests)

    def _copy_from(
        self,
        source: ReusedBatch,
        wanted: list[EarlierAnswer],
        requests: dict[int, Request],
    ) -> None:
        context = self._context
        key = context.ledger.keys.content(source.output_file_id)
        try:
            for answer, text in _read_lines(context.storage, key, wanted):
                request = requests.get(answer.line)
                if request is not None:
                    self._add(source, request, text)
                    self._writer.flush_if_due()
        except ObjectMissingError as error:
            message = "requests are run instead of reused from `%s`: %s"
            log.warning(message, source.batch_id, error)

    def _add(self, source: ReusedBatch, request: Request, text: bytes) -> None:
        """Add the result of a request, if the answer in `text` may be used."""
        context = self._context
        line = _line.decode(text)
        body = line.response.body
        fingerprint = _text.decode(body["system_fingerprint"])
        if fingerprint != context.engine.fingerprint:
            if not context.batch.reuse_across_engines:
                return
            self._writer.engines |= self._engine(source, fingerprint)
        origin: Any = body.get("reused_from") or {
            "batch_id": source.batch_id,
            "custom_id": line.custom_id,
        }
        copied = output_lines.reused(
            request_id(context.batch.id, request.line),
            request.custom_id,
            body,
            model=context.model.name,
            is_priced=context.model.price is not None,
            metadata=request.parameter("metadata"),
            origin=origin,
        )
        self._writer.add_reused(
            Result(
                request.line,
                completed=True,
                usage=Usage(),
                engine_seconds=0.0,
                text=copied,
            )
        )

    def _engine(self, source: ReusedBatch, fingerprint: str) -> dict[str, Any]:
        """Return the engine of an earlier answer, as the earlier batch records it."""
        final = self._context.ledger.outcome(source.batch_id)
        engine = final.engines.get(fingerprint) if final else None
        return {fingerprint: engine} if engine else {}


def _read_lines(
    storage: Storage, key: str, wanted: list[EarlierAnswer]
) -> Iterator[tuple[EarlierAnswer, bytes]]:
    """Yield the wanted lines of an output file that are whole.

    Raises:
        ObjectMissingError: the file was deleted.
        StorageError: the storage is not available.

    """
    for group in _adjacent(wanted):
        begin, last = group[0].place.offset, group[-1].place
        data = storage.read(key, begin, last.offset + last.length - begin)
        for answer in group:
            at, length, checksum = answer.place
            text = data[at - begin : at - begin + length]
            if len(text) == length and zlib.crc32(text) == checksum:
                yield answer, text
            else:
                log.warning("an answer in `%s` is corrupt; its request is run", key)


def _adjacent(wanted: list[EarlierAnswer]) -> Iterator[list[EarlierAnswer]]:
    """Yield groups of answers that are read at once, from answers in their order."""
    group: list[EarlierAnswer] = []
    for answer in wanted:
        if group:
            place, last = answer.place, group[-1].place
            gap = place.offset - last.offset - last.length
            size = place.offset + place.length - group[0].place.offset
            if gap > _MAX_GAP_BYTES or size > _READ_BYTES:
                yield group
                group = []
        group.append(answer)
    if group:
        yield group
