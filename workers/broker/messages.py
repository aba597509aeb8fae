"""What a message says: that something may be worth doing. It decides nothing."""

from hashlib import sha256
from typing import NamedTuple

import msgspec

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import CorruptObjectError

PLAN = "plan"
FINALIZE = "finalize"
DELIVER = "deliver"
CONTROL = "control"
"""The queue of what controllers do: plan batches, and end them."""


class WorkMessage(NamedTuple):
    """A shard to run, or a batch to `plan`, to `finalize` or to `deliver`.

    Its name is the id of the message and of the lease: ids only, no content.
    """

    project: str
    batch_id: str
    work: str

    @property
    def name(self) -> str:
        """The three in one word."""
        return "/".join(self)

    @property
    def shard(self) -> int:
        """The shard's number."""
        return int(self.work)

    @classmethod
    def for_shard(cls, project: str, batch_id: str, shard: int) -> "WorkMessage":
        """Return the message to run a shard."""
        return cls(project, batch_id, f"{shard:05d}")

    @classmethod
    def parse(cls, name: str) -> "WorkMessage":
        """Return the message of that name. Raises `CorruptObjectError`."""
        parts = name.split("/")
        if len(parts) != len(cls._fields):
            raise CorruptObjectError(f"a message names no task: `{name[:80]}`")
        return cls(*parts)


def queue_name(model: Model) -> str:
    """Return the queue of a model.

    Workers may run a model with other arguments of the engine, on other GPUs. What
    makes its prompts must be the same as when the batch was planned, so that goes
    into the name.
    """
    shapes = (
        model.source,
        model.revision,
        model.chat_template,
        sorted(model.special_tokens.items()),
        model.context_length,
    )
    digest = sha256(msgspec.json.encode(shapes)).hexdigest()[:12]
    plain = "".join(c if c.isalnum() else "-" for c in model.source)[-40:]
    return f"model.{plain.strip('-')}.{digest}"
