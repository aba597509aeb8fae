"""Work messages: hints that some work may be due. They decide nothing.

The bucket alone decides what is done, so lost, repeated and late messages are safe.
A message may come from a process of another version; its name is then parsed
leniently and skipped if it names no work that this version knows.
"""

from hashlib import sha256
from typing import NamedTuple, Protocol, Self

import msgspec

from batchchat.jobs.catalog.catalog import Model

PLAN = "plan"
FINALIZE = "finalize"
DELIVER = "deliver"

CONTROL = "control"
"""Name of the queue of controllers, which plan, finalize and deliver batches."""


class WorkMessage(NamedTuple):
    """Work on a batch: `plan`, `finalize`, `deliver`, or the number of a shard to run.

    The name is the id of the message and of the lease that goes with it. It consists
    of ids only, never of user content.
    """

    project: str
    batch_id: str
    work: str

    @property
    def name(self) -> str:
        """The three fields, joined by slashes."""
        return "/".join(self)

    @property
    def is_shard(self) -> bool:
        """Whether the work is to run a shard."""
        return self.work.isascii() and self.work.isdecimal()

    @property
    def shard(self) -> int:
        """The number of the shard; raises `ValueError` for any other work."""
        return int(self.work)

    @classmethod
    def for_shard(cls, project: str, batch_id: str, shard: int) -> Self:
        """Return the message to run a shard."""
        return cls(project, batch_id, f"{shard:05d}")

    @classmethod
    def parse(cls, name: object) -> Self | None:
        """Return the message with this name; None if it names no known work."""
        parts = name.split("/") if isinstance(name, str) else []
        if len(parts) != len(cls._fields) or not all(parts):
            return None
        message = cls(*parts)
        is_known = message.is_shard or message.work in _CONTROL_WORK
        return message if is_known else None


_CONTROL_WORK = {PLAN, FINALIZE, DELIVER}


class Queue(Protocol):
    """Queues of work messages; each method may raise `BrokerError`."""

    resend_seconds: float
    """Time after which a message is sent again if its work has not started."""

    def send(self, queue: str, message: WorkMessage, *, to_front: bool = False) -> None:
        """Append a message to a queue, or put it before all others."""
        ...

    def waiting(self, queue: str) -> set[str]:
        """Return the names of the messages in a queue."""
        ...


def queue_name(model: Model) -> str:
    """Return the name of a model's queue.

    Workers may run a model with different engine arguments, on different GPUs. All
    fields that shape its prompts must be the same as when the batch was planned, so
    the name contains their digest.
    """
    fields = (
        model.source,
        model.revision,
        model.chat_template,
        sorted(model.special_tokens.items()),
        model.context_length,
    )
    digest = sha256(msgspec.json.encode(fields)).hexdigest()[:12]
    source = "".join(c if c.isalnum() else "-" for c in model.source)[-40:]
    return f"model.{source.strip('-')}.{digest}"
