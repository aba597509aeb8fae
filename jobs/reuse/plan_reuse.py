"""Adds to a plan which of its requests need not be run."""

from collections.abc import Iterable
from contextlib import closing

from msgspec.structs import replace

from batchchat.jobs.ids import new_attempt_id
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.planned_reuse import Reuse
from batchchat.jobs.ledger.records import Batch, Plan
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.reuse.search import find_answers


def with_reuse(
    ledger: Ledger,
    batch: Batch,
    plan: Plan,
    chunks: Iterable[bytes],
    renderers: RendererRegistry,
) -> Plan:
    """Return the plan with the answers that `batch.reuse` has for its requests.

    `chunks` is the batch's input. The map is stored before the plan that names it. Each
    planner writes one of its own, so that a plan never names the map of another one.

    Raises:
        StorageError: the storage is not available.

    """
    found = find_answers(ledger, batch, plan, chunks, renderers)
    with closing(found.answers) as answers:
        requests = len(answers)
        if not requests:
            return plan
        map_id = new_attempt_id()
        key = ledger.keys.batch(batch.id).reuse_map(map_id)
        ranges = answers.store(ledger.storage, key, plan.shards)
    shards = [
        replace(shard, earlier_answers=part) if part.length else shard
        for shard, part in zip(plan.shards, ranges, strict=True)
    ]
    return replace(plan, shards=shards, reuse=Reuse(map_id, found.sources, requests))
