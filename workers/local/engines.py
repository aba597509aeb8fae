"""The interfaces between a runner, its engines and their queues."""

from collections.abc import Collection
from typing import Protocol

from batchchat.jobs.engine.protocol import EngineActivity
from batchchat.jobs.execution.progress import EngineProgress
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.shards.open_attempts import WorkDone


class ModelBroker(Protocol):
    """The queues of all models, for one engine; see `InProcessBroker`."""

    @property
    def is_closed(self) -> bool:
        """Whether to stop."""
        ...

    def first_messages(
        self, timeout: float = 0.0, *, exclude: Collection[str] = ()
    ) -> dict[str, WorkMessage]:
        """Return the first message of each queue that is not empty."""
        ...

    def receive(self, queue: str, timeout: float) -> WorkMessage | None:
        """Remove and return the first message of a queue."""
        ...

    def finish(self, message: WorkMessage) -> None:
        """Note that the work of a received message has ended."""
        ...

    def waiting(self, queue: str) -> set[str]:
        """Return the names of the messages in a queue."""
        ...

    def close(self) -> None:
        """Stop all receivers."""
        ...


class Engines(Protocol):
    """What runs the shards of a runner: an engine in its process, or several beside."""

    @property
    def loaded_models(self) -> list[str]:
        """The names of the models that are loaded, one for each engine."""
        ...

    def run(self) -> None:
        """Run shards until `close` is called."""
        ...

    def close(self, drain_seconds: float) -> None:
        """Have `run` return; running requests may finish within `drain_seconds`."""
        ...

    def activity(self) -> EngineActivity | None:
        """Return what the loaded engines do, None if none is loaded."""
        ...

    def progress(self) -> list[EngineProgress]:
        """Return what each of several engines does; nothing for a single one."""
        ...

    def results(self) -> WorkDone:
        """Return the results that all engines so far have contributed."""
        ...

    def work_done(self) -> WorkDone:
        """Return the work of all engines so far, whether or not it was kept."""
        ...
