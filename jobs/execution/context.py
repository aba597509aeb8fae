"""What the attempts at one batch's shards share in a process."""

from collections.abc import Callable
from dataclasses import dataclass, field

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.protocol import Engine
from batchchat.jobs.execution.answer_cache import AnswerCache
from batchchat.jobs.execution.engine_gate import EngineGate
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.planned_reuse import Reuse
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import Storage


@dataclass(frozen=True, kw_only=True)
class BatchContext:
    """A batch, the engine that runs it, and where its progress is reported.

    Lines longer than `max_line_bytes` are invalid. From shard `first_tail_shard` on,
    the requests with the longest answers are submitted first. `engine_gate` is shared
    by everything that uses the engine.
    """

    ledger: Ledger
    batch: Batch
    model: Model
    engine: Engine
    stop: ShutdownSignal
    progress: Progress
    max_line_bytes: int
    first_tail_shard: int
    checkpoint_seconds: float
    reuse: Reuse | None = None
    """The earlier answers that the plan uses again."""

    is_planned: Callable[[], bool] = lambda: True
    """Returns whether the plan that the attempt belongs to is still the batch's."""

    engine_gate: EngineGate = field(default_factory=EngineGate)
    answer_cache: AnswerCache = field(default_factory=AnswerCache)

    @property
    def storage(self) -> Storage:
        """The storage that holds the batch."""
        return self.ledger.storage

    @property
    def keys(self) -> BatchKeys:
        """The storage keys of the batch."""
        return self.ledger.keys.batch(self.batch.id)
