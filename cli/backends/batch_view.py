"""A batch as the commands see it, wherever it runs: its object, read back."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from batchchat.jobs.catalog.usage import Price
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.ledger import TERMINAL, State
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.requests.problems import Problem

encode = msgspec.json.Encoder(decimal_format="number").encode
"""Returns JSON, with decimals as exact numbers."""


class Delivery(NamedTuple):
    """Where a user wants the results of a batch, an absolute path, and in what form."""

    output: Path
    formats: str


class Tokens(msgspec.Struct, frozen=True):
    """Of OpenAI's BatchUsage what is shown."""

    input_tokens: int
    output_tokens: int


class Shards(msgspec.Struct, frozen=True):
    """The parts that a batch is run in, and how many of them are final."""

    total: int
    committed: int


class Problems(msgspec.Struct, frozen=True):
    """The first of all that is wrong with an input."""

    data: list[Problem]


class Delivered(msgspec.Struct, frozen=True):
    """How far results are on their way to a destination."""

    status: str
    files: list[str]
    error: str | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Of a Batch object what commands look at; see `jobs.batch_object`."""

    id: str
    status: str
    created_at: int
    request_counts: Counts
    usage: Tokens
    estimated_cost: Decimal
    engine_seconds: float
    engine_cost: Decimal | None
    max_cost: Decimal | None = None
    cancel_reason: str | None = None
    invalid_lines: int
    streamed_requests: int
    model: str | None
    errors: Problems | None
    output_file_id: str | None
    error_file_id: str | None
    output_parquet_file_id: str | None = None
    delivery: Delivered | None = None
    shards: Shards | None

    @property
    def is_terminal(self) -> bool:
        """Whether its status will never be another."""
        return self.status in TERMINAL

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        is_on_its_way = self.delivery is not None and self.delivery.status == "pending"
        return self.is_terminal and not is_on_its_way


@dataclass(frozen=True)
class View:
    """A batch; `text` is its object as JSON, `started` that a worker has begun it.

    Both a ledger and a server are read by way of the object, so that what is shown
    can't depend on where the batch runs.
    """

    text: bytes
    batch: Shown
    delivery: Delivery | None = None
    started: bool = False

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return what is shown of a ledger's batch."""
        batch, delivery = state.batch, None
        if batch.output is not None:
            delivery = Delivery(Path(batch.output), batch.output_format)
        text = encode(batch_object(state))
        return cls(text, read_shown(text), delivery, bool(state.running))


def read_shown(text: bytes) -> Shown:
    """Return what is shown of an object. Raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=Shown)


class ListedModel(msgspec.Struct, frozen=True):
    """Of a Model object what is listed; see `jobs.model_object`."""

    id: str
    description: str
    context_length: int | None
    price: Price | None


class _Models(msgspec.Struct, frozen=True):
    data: list[ListedModel]


def read_models(text: bytes) -> list[ListedModel]:
    """Return what is listed of a list object. Raises `msgspec.MsgspecError`."""
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
