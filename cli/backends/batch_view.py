"""A batch as the commands see it: its Batch object, decoded from JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from batchchat.jobs.catalog.usage import Price
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_object import BatchObject, batch_object
from batchchat.jobs.ledger.state import State


class LocalOutput(NamedTuple):
    """Where to write the results on this machine: an absolute path, and `--format`."""

    path: Path
    formats: str


@dataclass(frozen=True)
class View:
    """A batch; `text` is its Batch object as JSON, `started` whether a worker runs it.

    Both a ledger and a server are read through the object, so that the output does not
    depend on where the batch runs.
    """

    text: bytes
    batch: BatchObject
    local_output: LocalOutput | None = None
    started: bool = False

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return the view of a ledger's batch."""
        batch, local_output = state.batch, None
        if batch.output is not None:
            local_output = LocalOutput(Path(batch.output), batch.output_format)
        text = encode(batch_object(state))
        return cls(text, read_batch(text), local_output, bool(state.running))


def read_batch(text: bytes) -> BatchObject:
    """Decode a Batch object. Raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=BatchObject)


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
