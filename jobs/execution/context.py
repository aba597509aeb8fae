"""What all attempts at one batch's shards in a process have in common."""

from dataclasses import dataclass, field

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.engine.protocol import Engine
from batchchat.jobs.execution.answer_cache import AnswerCache
from batchchat.jobs.execution.engine_gate import EngineGate
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.keys import BatchKeys
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch
from batchchat.jobs.shutdown import Stop
from batchchat.jobs.storage import Storage


@dataclass(frozen=True, kw_only=True)
class BatchContext:
    """A batch, what runs it, and what it reports to.

    `line_bytes` is what a line may have at most; `tail` is the first of the shards
    with which the batch ends; `floor` is shared by all who use the engine.
    """

    ledger: Ledger
    batch: Batch
    model: Model
    engine: Engine
    stop: Stop
    progress: Progress
    max_line_bytes: int
    first_tail_shard: int
    checkpoint_seconds: float
    engine_gate: EngineGate = field(default_factory=EngineGate)
    answer_cache: AnswerCache = field(default_factory=AnswerCache)

    @property
    def storage(self) -> Storage:
        """The bucket."""
        return self.ledger.storage

    @property
    def keys(self) -> BatchKeys:
        """The batch's keys."""
        return self.ledger.keys.of(self.batch.id)
