"""What a process remembers is bounded in bytes, however large the objects are."""

import random
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from batchchat.api.batch_view import BatchView, _Cached
from batchchat.jobs.engine.protocol import Choice, Completion
from batchchat.jobs.execution.answer_cache import AnswerCache
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import IndexEntry
from batchchat.jobs.ledger.commit_index import CommitIndex
from batchchat.jobs.ledger.record_caches import RecordCaches
from batchchat.jobs.ledger.records import Batch, Commit, Part, Plan, Shard
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.storage import CachedStorage, MemoryStorage
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.control.batch_watch import BatchWatch
from batchchat.workers.control.runnable_batch import RunnableBatch
from batchchat.workers.cost_check import CostChecks
from tests.support import batch_records
from tests.support.batch_records import BATCH
from tests.support.ended import Hand, bare

MIB = 1024 * 1024


def text(size):
    """Return a new text, which shares no memory with other ones."""
    return random.randbytes(size // 2).hex()


def decoded(kind, record):
    return records.decode(kind, records.encode(record), "key")


def plan(shards=0, problems=0):
    many = [
        Shard(n, n * 300_000, 300_000, n * 1_000, 1_000, 1_000) for n in range(shards)
    ]
    found = [Problem("invalid_value", n, text(400), text(40)) for n in range(problems)]
    return decoded(Plan, replace(batch_records.plan(), shards=many, problems=found))


def batch():
    metadata = {text(64): text(500) for _ in range(16)}
    return decoded(Batch, replace(BATCH, metadata=metadata))


def commit():
    parts = [Part(text(120), 4_000_000, text(64)) for _ in range(60)]
    return decoded(Commit, replace(batch_records.commit(0), parts=parts))


def answer(**make):
    choices = [
        Choice(
            index=n,
            text=None,
            finish_reason="stop",
            **{name: value() for name, value in make.items()},
        )
        for n in range(9)
    ]
    return Completion(choices=choices, prompt_tokens=1, completion_tokens=1)


def batch_object(size):
    return _Cached(text(size).encode(), 0.0)


def tool_calls():
    return answer(tool_calls=lambda: [{"function": {"arguments": text(20_000)}}])


def measured(cache, make, objects):
    """Fill a cache; return the bytes that it takes, and those that it has counted."""
    make()
    tracemalloc.start()
    for number in range(objects):
        cache.put(f"projects/p/batches/batch_{number:032d}/plan.json", make())
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken, cache._size


CACHES = RecordCaches()
OBJECTS: dict[str, tuple[Any, Callable[[], Any], int]] = {
    "large plan": (CACHES.plans, partial(plan, shards=10_000), 3),
    "rejected plan": (CACHES.plans, partial(plan, problems=1_000), 5),
    "small plan": (CACHES.plans, plan, 200),
    "batch": (CACHES.batches, batch, 100),
    "commit": (CACHES.commits, commit, 100),
    "commit index": (
        CACHES.committed,
        lambda: CommitIndex(5, frozenset(range(9_000))),
        9,
    ),
    "listed": (CACHES.listed, lambda: True, 1_000),
    "small Batch object": (BatchView()._cache, partial(batch_object, 2_000), 200),
    "large Batch object": (BatchView()._cache, partial(batch_object, 427_000), 20),
    "answer": (AnswerCache()._answers, answer, 200),
    "reasoning": (
        AnswerCache()._answers,
        lambda: answer(reasoning=lambda: text(9_000)),
        50,
    ),
    "tool calls": (AnswerCache()._answers, tool_calls, 50),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_a_cache_counts_the_bytes_that_its_objects_take(name):
    cache, make, objects = OBJECTS[name]
    cache.clear()
    taken, counted = measured(cache, make, objects)
    assert counted / 4 < taken < 1.25 * counted


@pytest.mark.parametrize("shards", [1, 3_000])
def test_the_dispatcher_counts_the_bytes_of_the_states_that_it_remembers(shards):
    watch, make = (
        BatchWatch(2.0),
        lambda: State(batch=batch(), plan=plan(shards=shards)),
    )
    make()
    tracemalloc.start()
    kept = []
    for number in range(max(1, 60 // shards)):
        state = make()
        kept.append(pending := RunnableBatch("p", state))
        assert not pending.has_pending(WorkMessage.for_shard("p", "b", 99_999))
        entry = IndexEntry("p", f"batch_{number:032d}", 0)
        watch.record(entry, state, 0.0, 0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < sum(watch._weights.values()) < 10 * taken


def test_the_checks_of_cost_limits_count_the_bytes_of_the_checkpoints():
    hand = Hand(shard_requests=400)
    ids = []
    for _ in range(5):
        data = b"".join(bare("x") + b"\n" for _ in range(1_200))
        ids.append(hand.submit(data, max_cost=Decimal(1)))
        for shard in hand.plan(ids[-1]).shards:
            results = hand.results(ids[-1], shard)
            hand.checkpoint(ids[-1], shard.index, results[:200], results[200:])
    ledger = hand.ledger
    states = [ledger.state(batch_id) for batch_id in ids]
    costs = CostChecks(lambda: 1.0)
    costs.reaches_limit(ledger, states[0])
    tracemalloc.start()
    for state in states[1:]:
        costs.reaches_limit(ledger, state)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    counted = costs._checked._size * 4 / 5
    assert counted / 4 < taken < 1.25 * counted


def test_the_caches_of_records_keep_to_their_limit():
    parts = ("batches", "plans", "commits", "committed", "listed")
    limits = [getattr(CACHES, name)._max_size for name in parts]
    assert sum(limits) == RecordCaches.MAX_BYTES


def test_requests_to_a_server_share_what_never_changes():
    shared = RecordCaches()
    one, two = RecordCaches(shared), RecordCaches(shared)
    assert one.plans is two.plans is shared.plans
    assert one.committed is not two.committed


@pytest.mark.parametrize("size", [500, 427_000])
def test_records_in_memory_are_bounded(size):
    storage = MemoryStorage()
    cached = CachedStorage(storage, max_bytes=2 * MIB)
    tracemalloc.start()
    for number in range(6_000_000 // size):
        key = f"projects/p/batches/batch_{number:032d}/plan.json"
        storage.put(key, text(size).encode())
        cached.get(key)
        storage.delete(key)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 1.25 * 2 * MIB
