"""A batch as the commands see it: its Batch object, decoded from JSON."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from batchchat.jobs.catalog.usage import Price
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.state import TERMINAL, State
from batchchat.jobs.requests.problems import Problem


class LocalOutput(NamedTuple):
    """Where to write the results on this machine: an absolute path, and `--format`."""

    path: Path
    formats: str


class TokenUsage(msgspec.Struct, frozen=True):
    """The displayed part of OpenAI's BatchUsage."""

    input_tokens: int
    output_tokens: int


class ShardCounts(msgspec.Struct, frozen=True):
    """How many shards a batch has, and how many of them are committed."""

    total: int
    committed: int


class InputErrors(msgspec.Struct, frozen=True):
    """The first problems of an input file."""

    data: list[Problem]


class DeliveryStatus(msgspec.Struct, frozen=True):
    """The delivery of results to a URL: `pending`, `delivered` or `failed`."""

    status: str
    files: list[str]
    error: str | None


class BatchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a Batch object that the commands use; see `jobs.batch_object`."""

    id: str
    status: str
    created_at: int
    request_counts: Counts
    usage: TokenUsage
    estimated_cost: Decimal
    engine_seconds: float
    engine_cost: Decimal | None
    max_cost: Decimal | None = None
    cancel_reason: str | None = None
    invalid_lines: int
    streamed_requests: int
    model: str | None
    errors: InputErrors | None
    output_file_id: str | None
    error_file_id: str | None
    output_parquet_file_id: str | None = None
    delivery: DeliveryStatus | None = None
    shards: ShardCounts | None

    @property
    def is_terminal(self) -> bool:
        """Whether the status is final."""
        return self.status in TERMINAL

    @property
    def is_over(self) -> bool:
        """Whether the status is final and the results are delivered."""
        is_delivering = self.delivery is not None and self.delivery.status == "pending"
        return self.is_terminal and not is_delivering


@dataclass(frozen=True)
class View:
    """A batch; `text` is its Batch object as JSON, `started` whether a worker runs it.

    Both a ledger and a server are read through the object, so that the output does not
    depend on where the batch runs.
    """

    text: bytes
    batch: BatchSummary
    local_output: LocalOutput | None = None
    started: bool = False

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return the view of a ledger's batch."""
        batch, local_output = state.batch, None
        if batch.output is not None:
            local_output = LocalOutput(Path(batch.output), batch.output_format)
        text = encode(batch_object(state))
        return cls(text, read_summary(text), local_output, bool(state.running))


def read_summary(text: bytes) -> BatchSummary:
    """Decode a Batch object. Raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=BatchSummary)


class ListedModel(msgspec.Struct, frozen=True):
    """The displayed fields of a Model object; see `jobs.catalog.model_object`."""

    id: str
    root: str
    description: str
    context_length: int | None
    price: Price | None


class _Models(msgspec.Struct, frozen=True):
    data: list[ListedModel]


def read_models(text: bytes) -> list[ListedModel]:
    """Decode a list of Model objects. Raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=_Models).data


class Page(NamedTuple):
    """Some batches, and whether there are more."""

    views: list[View]
    has_more: bool

    def as_list(self) -> dict[str, Any]:
        """Return OpenAI's list object."""
        ids = [view.batch.id for view in self.views]
        return {
            "object": "list",
            "data": [msgspec.Raw(view.text) for view in self.views],
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": self.has_more,
        }
