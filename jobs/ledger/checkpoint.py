"""Checkpoints: the results of a shard that are stored before it is finished.

A checkpoint is a file of JSON lines. The first one is a `CheckpointHeader`. A result
is `[line, completed, input tokens, cached tokens, output tokens, engine seconds, {the
line of the output or error file}]`, so that this line can be cut out without decoding.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError
from batchchat.jobs.json_lines import escape_line_breaks
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.records import Counts

_NO_TOKENS = Usage()


class Result(NamedTuple):
    """The result of one request; `text` is its line of the output or error file."""

    line: int
    completed: bool
    usage: Usage
    engine_seconds: float
    text: bytes

    @property
    def is_reused(self) -> bool:
        """Whether it is the answer of an earlier batch: only these use no tokens."""
        return self.completed and self.usage == _NO_TOKENS


class FinishedLine(NamedTuple):
    """The part of a `Result` that is written to the result files."""

    line: int
    completed: bool
    text: bytes


class CheckpointHeader(records.Record, frozen=True):
    """The first line of a checkpoint: how many results follow, and their SHA-256.

    `engines` has the identity of the engine that produced them, by fingerprint.
    """

    results: int
    sha256: str
    engines: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    escaped: bool = False


class PackedCheckpoint(NamedTuple):
    """The bytes of a checkpoint, and the SHA-256 of its results."""

    data: bytes
    sha256: str


def pack(
    results: Iterable[Result], engines: dict[str, dict[str, Any]] | None = None
) -> PackedCheckpoint:
    """Return the checkpoint of `results`, which came from `engines`.

    The text of each result must be encoded by `jobs.json_lines`.
    """
    lines = [_pack(result) for result in results]
    body = b"".join(lines)
    digest = sha256(body).hexdigest()
    header = CheckpointHeader(len(lines), digest, engines or {}, escaped=True)
    head = msgspec.json.encode(header)
    return PackedCheckpoint(head + b"\n" + body, digest)


def unpack(data: bytes, key: str, expected: str | None = None) -> list[Result]:
    """Return the results of a checkpoint.

    Raises:
        CorruptObjectError: the object under `key` is truncated or altered, or does
            not have the digest `expected`.
        NewerFormatError: a newer version of batchchat wrote it.

    """
    return [_unpack(raw) for raw in _lines(data, key, expected)]


def unpack_lines(data: bytes, key: str, expected: str) -> list[FinishedLine]:
    """Return the results like `unpack`, but faster: without tokens and seconds."""
    return [_finished(raw) for raw in _lines(data, key, expected)]


def _lines(data: bytes, key: str, expected: str | None) -> list[bytes]:
    head, _, body = data.partition(b"\n")
    header = records.decode(CheckpointHeader, head, key)
    digest = header.sha256
    if sha256(body).hexdigest() != digest or expected not in (None, digest):
        raise CorruptObjectError(f"`{key}` does not match its digest")
    if not header.escaped:
        body = escape_line_breaks(body)
    return body.split(b"\n")[:-1]


def read_header(data: bytes) -> CheckpointHeader:
    """Return the header of a checkpoint that `unpack` has accepted."""
    return msgspec.json.decode(data.partition(b"\n")[0], type=CheckpointHeader)


def tally(results: Iterable[Result]) -> tuple[Counts, Usage, float]:
    """Return the number of results, their tokens and their engine seconds."""
    completed = failed = 0
    usage = Usage()
    seconds = 0.0
    for result in results:
        completed += result.completed
        failed += not result.completed
        usage += result.usage
        seconds += result.engine_seconds
    return Counts(completed + failed, completed, failed), usage, seconds


def _pack(result: Result) -> bytes:
    usage = result.usage
    numbers = (
        result.line,
        int(result.completed),
        usage.input_tokens,
        usage.cached_tokens,
        usage.output_tokens,
        round(result.engine_seconds, 6),
    )
    head = ",".join(str(number) for number in numbers)
    return b"[%b,%b]\n" % (head.encode(), result.text)


def _unpack(raw: bytes) -> Result:
    head, _, text = raw.partition(b",{")
    line, done, input_tokens, cached, output, seconds = head[1:].split(b",")
    usage = Usage(int(input_tokens), int(cached), int(output))
    return Result(int(line), done == b"1", usage, float(seconds), b"{" + text[:-1])


def _finished(raw: bytes) -> FinishedLine:
    at = raw.index(b",{")
    line, done, _ = raw[1:at].split(b",", 2)
    return FinishedLine(int(line), done == b"1", raw[at + 1 : -1])
