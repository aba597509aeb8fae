"""The records of a batch: what is in each stored object, and how it is encoded.

A record is a frozen struct with a `format`. Readers skip unknown fields, read all
older formats, and reject newer ones with `NewerFormatError`, so that an old process
never damages what a newer one has written. Raise a record's format when older readers
would misunderstand it; a new field with a default needs no new format.
"""

from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Protocol, TypeVar, cast

import msgspec

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError, NewerFormatError
from batchchat.jobs.ledger.batch_options import DEFAULT_ON_INVALID, BatchOptions
from batchchat.jobs.ledger.planned_reuse import MapRange, Reuse
from batchchat.jobs.requests.problems import Problem

_encoder = msgspec.json.Encoder(decimal_format="number")

Format = Annotated[int, msgspec.Meta(ge=1)]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all stored records."""

    format: Format = 1


class HasFormat(Protocol):
    """Any record; a class that can't extend `Record` declares its own `format`."""

    @property
    def format(self) -> int:
        """The format that the record was written in."""
        ...


R = TypeVar("R", bound=HasFormat)

MARKER = msgspec.json.encode(Record())
"""The content of an object whose existence says everything."""


class Counts(msgspec.Struct, frozen=True):
    """Numbers of requests; requests that never ran only count in `total`."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Add field by field."""
        return Counts(
            self.total + other.total,
            self.completed + other.completed,
            self.failed + other.failed,
        )

    def done(self) -> tuple[int, int]:
        """Return the numbers of completed and of failed requests."""
        return self.completed, self.failed


class File(Record, frozen=True, kw_only=True):
    """`file.json`: the metadata of a file, whose content is stored beside it."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | None = None
    lines: int | None = None
    """The number of line feeds in it, None if they were not counted."""


class Batch(BatchOptions, frozen=True, kw_only=True):
    """`batch.json`: a batch as it was created.

    `seed` is the batch's own, given or random: requests without a seed derive theirs
    from it. Times are Unix seconds.
    """

    id: str
    project: str
    input_file_id: str
    endpoint: str
    created_at: int
    expires_at: int | None
    """None if it never expires, which readers of format 1 do not know."""

    seed: int
    on_invalid: str = DEFAULT_ON_INVALID
    """Readers of format 1 know `fail` and `skip` only."""

    resolved_model: Model | None = None
    """The model as it was found in the catalog when the batch was created; None if the
    planner has to find it, from the name in `model` or on the lines."""

    format: Format = 3


class Shard(msgspec.Struct, frozen=True, array_like=True):
    """A contiguous range of input lines: its bytes, and what they contain.

    `lines` counts all lines of the range, including blank ones. `requests` counts the
    lines that need an answer, including invalid ones.
    """

    index: int
    offset: int
    length: int
    first_line: int
    lines: int
    requests: int
    duplicate_lines: tuple[int, ...] = ()
    """Lines whose custom_id already occurs on an earlier line."""

    earlier_answers: MapRange | None = None
    """Its part of the map of `Plan.reuse`, None if there is nothing to reuse."""

    @property
    def line_numbers(self) -> range:
        """The numbers of its lines in the input file."""
        return range(self.first_line, self.first_line + self.lines)


class Plan(Record, frozen=True, kw_only=True):
    """`plan.json`: the shards of a batch, or why there are none.

    `problems` holds the first 1,000 problems that failed the batch, or, with
    `on_invalid=skip`, those of all lines; `problems.jsonl` has all that were found.
    Unless the batch failed, each of the `invalid_lines` gets an error line.
    """

    created_at: int
    model: Model | None
    requests: int
    invalid_lines: int
    shards: list[Shard]
    problems: list[Problem]
    max_line_bytes: int = 8 * 1024 * 1024
    """The line limit of the planner, which all later readers of the input must use."""

    streamed_requests: int = 0
    """Number of requests that set `stream`, in plans of older versions."""

    ignored_fields: dict[str, int] = {}
    """Numbers of requests, by fields that have no effect, such as `stream`."""

    renamed_columns: dict[str, str] = {}
    """Columns of the input's rows with another name in results; see
    `rows/result_columns.py`."""

    reuse: Reuse | None = None

    def failed(self) -> bool:
        """Return whether the input was rejected, so that nothing runs."""
        return not self.shards

    def all_ignored_fields(self) -> dict[str, int]:
        """Return `ignored_fields`, in older plans what they know of it."""
        streamed = self.streamed_requests
        return self.ignored_fields or ({"stream": streamed} if streamed else {})

    @property
    def has_valid_lines(self) -> bool:
        """Whether an engine is needed; otherwise all lines have problems."""
        return self.invalid_lines < self.requests

    @property
    def first_tail_shard(self) -> int:
        """The first shard of the tail, which is the last eighth of the batch.

        In the tail, the requests that may take longest are submitted first.
        """
        return len(self.shards) - max(1, len(self.shards) // 8)

    def require_model(self) -> Model:
        """Return the model of a plan with shards. Raises `CorruptObjectError`."""
        if self.model is None:
            raise CorruptObjectError("the plan has shards, but no model")
        return self.model


class Cancel(Record, frozen=True):
    """`cancel.json`: a cancellation request; `reason` is None if a user made it."""

    created_at: int
    reason: str | None = None


class Extension(Record, frozen=True, kw_only=True):
    """`extension.json`: replaces `expires_at` of the batch; None means never."""

    expires_at: int | None


class Part(msgspec.Struct, frozen=True):
    """A checkpoint that a commit names, with its size in bytes and its SHA-256."""

    key: str
    size: int
    sha256: str


class Commit(Record, frozen=True, kw_only=True):
    """`commits/<shard>.json`: the checkpoints that make a shard final."""

    shard: int
    attempt: str
    created_at: int
    parts: list[Part]
    counts: Counts
    usage: Usage
    engine_seconds: float
    gpu_seconds: float | None = None
    """The engine time times the number of GPUs of the engine that took it."""

    engines: dict[str, dict[str, Any]] = {}
    """The engines that produced the results, by fingerprint."""

    reused: int = 0
    """The number of completed requests whose answer is that of an earlier batch."""


class Outcome(Record, frozen=True, kw_only=True):
    """`final.json`: how the batch ended, and which results count."""

    status: str
    created_at: int
    counts: Counts
    usage: Usage
    estimated_cost: Decimal | None
    """None if the model has no price, which readers of format 1 do not know."""

    engine_seconds: float
    output_file_id: str | None
    error_file_id: str | None
    parquet_file_id: str | None = None
    output_bytes: int = 0
    error_bytes: int = 0
    parquet_bytes: int = 0
    attempts: list[str] = []
    """The attempts whose results count, in the order of the shards."""

    engines: dict[str, dict[str, Any]] = {}
    """The engines that took part, by fingerprint."""

    reused: int = 0
    """The number of completed requests whose answer is that of an earlier batch."""

    gpu_seconds: float | None = None
    """The engine time times the number of GPUs of the engines that took it."""

    format: Format = 2

    @property
    def file_ids(self) -> list[str]:
        """The ids of the result files."""
        named = (self.output_file_id, self.error_file_id, self.parquet_file_id)
        return [file_id for file_id in named if file_id is not None]


class DeliveryReceipt(Record, frozen=True):
    """`delivery_receipt.json`: the delivery is done, or was given up."""

    created_at: int
    files: list[str] = []
    """URLs of the delivered files."""

    error: str | None = None
    """Why the delivery was given up, None if it succeeded."""


class DeliveryAttempt(Record, frozen=True):
    """`delivery_attempt.json`: why the last attempt at the delivery failed."""

    tried_at: int
    tries: int
    error: str
    retry_at: int


def encode(record: HasFormat) -> bytes:
    """Return the record as JSON."""
    return _encoder.encode(record)


def decode(kind: type[R], data: bytes, key: str) -> R:
    """Return the record that `data` holds.

    Raises:
        CorruptObjectError: `data`, read from `key`, is no such record.
        NewerFormatError: a newer version of batchchat wrote it.

    """
    try:
        record = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _check_format(_format_of(data), kind, key)
        raise CorruptObjectError(f"`{key}` is corrupt: {error}") from None
    _check_format(record.format, kind, key)
    return record


def _check_format(found: int, kind: type[HasFormat], key: str) -> None:
    supported = _newest_format(kind)
    if found > supported:
        raise NewerFormatError(
            f"`{key}` has format {found}, and this version of batchchat reads formats"
            f" up to {supported}",
            hint="upgrade batchchat on this machine",
        )


def _format_of(data: bytes) -> int:
    """Return the format of a record whose fields can't be read; 1 if it has none."""
    try:
        return msgspec.json.decode(data, type=Record).format
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 1


@cache
def _newest_format(kind: type[HasFormat]) -> int:
    struct = cast("type[msgspec.Struct]", kind)
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    return int(fields["format"].default)
