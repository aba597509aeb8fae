"""Checkpoints: results written down before their shard is finished.

A checkpoint is JSON lines. The first says how many results follow and their
SHA-256; a result is `[line, completed, input tokens, cached tokens, output
tokens, engine seconds, {the line of the output or error file}]`, so that the
finished line can be cut out of it unread.
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


class Result(NamedTuple):
    """What became of one request; `text` is its line of the output or error file."""

    line: int
    completed: bool
    usage: Usage
    engine_seconds: float
    text: bytes


class FinishedLine(NamedTuple):
    """What is written of a result at a batch's end; see `Result`."""

    line: int
    completed: bool
    text: bytes


class CheckpointHeader(records.Record, frozen=True):
    """The first line of a checkpoint.

    `engines` spells out, by fingerprint, the engine that gave the results. `escaped`
    is whether the line breaks of Unicode are escaped in the results.
    """

    results: int
    sha256: str
    engines: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    escaped: bool = False


class PackedCheckpoint(NamedTuple):
    """A checkpoint's bytes, and the digest of the results in it."""

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
        CorruptObjectError: the object under `key` is torn, altered, or not the
            one with the digest `expected`.

    """
    return [_unpack(raw) for raw in _lines(data, key, expected)]


def unpack_lines(data: bytes, key: str, expected: str) -> list[FinishedLine]:
    """Return the same without the tokens and the seconds, in less time."""
    return [_finished(raw) for raw in _lines(data, key, expected)]


def _lines(data: bytes, key: str, expected: str | None) -> list[bytes]:
    head, _, body = data.partition(b"\n")
    header = records.decode(CheckpointHeader, head, key)
    digest = header.sha256
    if sha256(body).hexdigest() != digest or expected not in (None, digest):
        raise CorruptObjectError(f"`{key}` is not what was written to it")
    if not header.escaped:
        body = escape_line_breaks(body)
    return body.split(b"\n")[:-1]


def read_header(data: bytes) -> CheckpointHeader:
    """Return the first line of a checkpoint that `unpack` has taken."""
    return msgspec.json.decode(data.partition(b"\n")[0], type=CheckpointHeader)


def tally(results: Iterable[Result]) -> tuple[Counts, Usage, float]:
    """Return how many results there are, their tokens and engine seconds."""
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
