"""A batch ends when it reaches its cost limit."""

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.catalog.usage import Price, Usage
from batchchat.jobs.errors import UsageError
from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.ledger.cost_limit import MAX_COST_REACHED, check_cost_limit
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.planning.planner import make_plan, plan_limits
from batchchat.jobs.results.finalize import finalize
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.shards.shard_host import ShardHost
from tests.support.memory_broker import memory_environment
from tests.support.running import ECHO, Bench, EchoRegistry, lines, renderer
from tests.unit.workers.test_dispatcher import Desk

PRICE = Price(input=Decimal(1), output=Decimal(1), date="2026-01-01")
PRICED = msgspec.structs.replace(ECHO, price=PRICE)
IN_ENGINE = 4
DEAREST = PRICE.cost(Usage(len("question 199"), 0, 9))


@pytest.fixture
def bench(tmp_path):
    renderers = EchoRegistry(Catalog({"echo": PRICED}), tmp_path)
    speed = {"capacity": IN_ENGINE, "latency": 0.001}
    return Bench(tmp_path, renderers=renderers, speed=speed)


@pytest.fixture
def whole(bench):
    """What a batch of 200 requests costs that has no limit."""
    return bench.run(bench.submit(lines(200))).cost()


def test_a_batch_exceeds_its_limit_only_by_running_requests(bench, whole):
    limit = whole / 2
    state = bench.run(bench.submit(lines(200), max_cost=limit))
    assert state.status == "cancelled"
    assert limit - IN_ENGINE * DEAREST <= state.cost() <= limit + IN_ENGINE * DEAREST
    output, errors = bench.results(state)
    ids = [result["custom_id"] for result in output + errors]
    assert sorted(ids) == sorted(f"q-{index}" for index in range(200))
    assert {line["error"]["code"] for line in errors} == {MAX_COST_REACHED}
    assert state.counts() == Counts(200, len(output), 0)


@pytest.fixture
def alike(bench):
    """A file of one shard whose requests share one answer."""
    bench.settings = bench.settings.model_copy(update={"shard_requests": 200})
    same = lines(1, temperature=0).replace(b'"q-0"', b'"q-%d"')
    return b"".join(same % number for number in range(200))


def test_duplicate_requests_do_not_exceed_the_cost_limit_further(bench, alike):
    data = alike
    limit = bench.run(bench.submit(data)).cost() / 2
    state = bench.run(bench.submit(data, max_cost=limit))
    assert state.status == "cancelled"
    assert state.cost() <= limit + IN_ENGINE * DEAREST


def test_earlier_results_count_against_the_limit(bench, whole):
    batch_id = bench.submit(lines(200), max_cost=whole / 2)
    bench.stop.request(0)  # a run that is stopped at once
    bench.run(batch_id)
    bench.stop = type(bench.stop)()
    assert bench.run(batch_id).cost() <= whole / 2 + IN_ENGINE * DEAREST
    assert bench.run(batch_id).status == "cancelled"


def test_an_unreached_cost_limit_changes_nothing(bench, whole):
    state = bench.run(bench.submit(lines(200), max_cost=whole * 2))
    assert (state.status, state.cost()) == ("completed", whole)


def test_a_cost_limit_needs_a_price(tmp_path):
    bench = Bench(tmp_path)
    batch_id = bench.submit(lines(2), max_cost=Decimal(1), on_invalid="skip")
    state = bench.run(batch_id)
    assert state.status == "failed"
    assert [p.code for p in state.require_plan().problems] == ["model_without_price"]
    with pytest.raises(UsageError, match="needs a price for `echo`"):
        check_cost_limit(Decimal(1), None, "echo")


def test_the_dispatcher_counts_committed_and_checkpointed_results(monkeypatch):
    desk = Desk()
    monkeypatch.setattr("tests.support.ended.MODEL", PRICED)
    batch_id = desk.submit(8, max_cost=Decimal("0.00001"))
    desk.sweep()
    assert desk.ledger.state(batch_id).status == "in_progress"
    shard = desk.hand.plan(batch_id).shards[1]
    desk.hand.checkpoint(batch_id, 1, desk.hand.results(batch_id, shard))
    desk.sweep()
    assert desk.ledger.state(batch_id).cancel.reason == MAX_COST_REACHED
    desk.sweep()
    assert desk.status_board.stops == {batch_id}
    assert desk.status_board.grace > 0


@pytest.mark.parametrize("tokens", [10**12, -(10**12)])
def test_progress_in_redis_decides_nothing(monkeypatch, tokens):
    desk = Desk()
    monkeypatch.setattr("tests.support.ended.MODEL", PRICED)
    batch_id = desk.submit(8, max_cost=Decimal("0.00001"))
    told = SimpleNamespace(counts=Counts(2, 2, 0), usage=Usage(tokens), in_flight=9)
    desk.status_board.runs[batch_id] = {0: told}
    desk.sweep()
    assert desk.ledger.state(batch_id).status == "in_progress"
    shard = desk.hand.plan(batch_id).shards[1]
    desk.hand.checkpoint(batch_id, 1, desk.hand.results(batch_id, shard))
    desk.sweep()
    assert desk.ledger.state(batch_id).cancel.reason == MAX_COST_REACHED


@pytest.mark.parametrize("elsewhere", [0, 40])
def test_a_worker_stops_its_shard_when_all_shards_together_reach_the_limit(
    bench, alike, elsewhere, monkeypatch
):
    whole = bench.run(bench.submit(alike)).cost()
    batch_id, ledger = bench.submit(alike, max_cost=whole / 2), bench.ledger
    make_plan(
        ledger, ledger.batch(batch_id), bench.renderers, plan_limits(bench.settings)
    )
    each = Usage(10, 0, 1)
    told = Usage(elsewhere * each.input_tokens, 0, elsewhere * each.output_tokens)
    running = {9: (Counts(0, elsewhere, 0), told)}
    monkeypatch.setattr(
        CheckpointReader,
        "add_checkpoints",
        lambda _, state: replace(state, running=running),
    )
    engine = start_echo(renderer(), **bench.speed)
    environment = memory_environment(bench.storage, bench.settings)
    host = ShardHost(environment, PRICED, engine)
    host.run(WorkMessage.for_shard("default", batch_id, 0))
    engine.close()
    assert ledger.cancel(batch_id).reason == MAX_COST_REACHED
    mine = finalize(ledger, batch_id, "cancelled").counts().completed
    assert 100 - elsewhere - IN_ENGINE <= mine <= 100 - elsewhere + IN_ENGINE
