"""The records of one batch: what the tests of the ledger begin with."""

from decimal import Decimal

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.catalog.usage import Price, Usage
from batchchat.jobs.ids import new_batch_id, new_file_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Batch, Commit, Counts, Outcome, Plan, Shard
from batchchat.jobs.storage import MemoryStorage

PRICE = Price(Decimal("0.59"), Decimal("0.79"), "2026-11-01")
MODEL = Model(name="m", source="org/m", price=PRICE)
BATCH = Batch(
    id=new_batch_id(),
    project="default",
    input_file_id=new_file_id(),
    endpoint="/v1/chat/completions",
    completion_window="24h",
    created_at=1,
    expires_at=86_401,
    seed=7,
)


def plan(shards: int = 2) -> Plan:
    """Return a plan of shards of ten requests each."""
    return Plan(
        created_at=2,
        model=MODEL,
        requests=10 * shards,
        invalid_lines=0,
        shards=[Shard(at, 100 * at, 100, 10 * at + 1, 10, 10) for at in range(shards)],
        problems=[],
    )


def commit(shard: int) -> Commit:
    """Return the commit of a shard, two of its requests failed."""
    return Commit(
        shard=shard,
        attempt="0" * 32,
        created_at=3 + shard,
        parts=[],
        counts=Counts(10, 8, 2),
        usage=Usage(149, 9, 338),
        engine_seconds=1.5,
    )


OUTCOME = Outcome(
    status="completed",
    created_at=9,
    counts=Counts(20, 17, 3),
    usage=Usage(1, 0, 2),
    estimated_cost=Decimal("0.5"),
    engine_seconds=4.0,
    output_file_id=None,
    error_file_id=None,
)


def new_ledger() -> Ledger:
    """Return a ledger that knows the batch, and nothing more of it."""
    ledger = Ledger(MemoryStorage(), "default", clock=lambda: 12.9)
    ledger.storage.put(ledger.keys.batch(BATCH.id).batch, records.encode(BATCH))
    return ledger
