"""What all attempts at one batch's shards in a process have in common."""

from dataclasses import dataclass, field

from jobs.catalog import Model
from jobs.engine import Engine
from jobs.floor import Floor
from jobs.keys import BatchKeys
from jobs.ledger import Ledger
from jobs.progress import Progress
from jobs.record import Batch
from jobs.stop import Stop
from jobs.storage import Storage
from jobs.twins import Twins


@dataclass(frozen=True, kw_only=True)
class Task:
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
    line_bytes: int
    tail: int
    checkpoint_seconds: float
    floor: Floor = field(default_factory=Floor)
    twins: Twins = field(default_factory=Twins)

    @property
    def storage(self) -> Storage:
        """The bucket."""
        return self.ledger.storage

    @property
    def keys(self) -> BatchKeys:
        """The batch's keys."""
        return self.ledger.keys.of(self.batch.id)
