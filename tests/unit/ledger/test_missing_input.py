"""A batch whose input was removed from the storage ends with a reason."""

from pathlib import Path

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.cost_limit import drain_seconds
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.missing_input import INPUT_MISSING, record_missing_input
from batchchat.jobs.planning.planner import make_plan
from batchchat.jobs.planning.scanner import Limits
from batchchat.jobs.results.finalize import finalize
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import LINE_BYTES, MODEL, EmptyRegistry, Hand, whole
from tests.support.running import Bench, lines

FIVE = b"".join(whole(f"q-{i}", f"text {i}") + b"\n" for i in range(5))
CREATED = 1_000


@pytest.fixture
def hand():
    return Hand()


def ledger_at(hand, now):
    return Ledger(hand.storage, "default", lambda: now)


def lose_input(hand, batch_id):
    ledger = hand.ledger
    hand.storage.delete(ledger.keys.content(ledger.batch(batch_id).input_file_id))


def planned(hand, batch_id, now):
    ledger = ledger_at(hand, now)
    renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
    sizes = Limits(2, 1_000_000, LINE_BYTES)
    make_plan(ledger, ledger.batch(batch_id), renderers, sizes)
    return ledger.state(batch_id)


def test_an_unplanned_batch_without_input_fails(hand):
    batch_id = hand.submit(FIVE, plan=False)
    lose_input(hand, batch_id)
    state = planned(hand, batch_id, CREATED + 61)
    assert state.status == "failed"
    errors = batch_object(state).errors
    assert errors
    [problem] = errors.data
    assert (problem.code, problem.param) == (INPUT_MISSING, "input_file_id")
    assert state.batch.input_file_id in problem.message


def test_the_missing_input_of_a_new_batch_may_appear_later(hand):
    batch_id = hand.submit(FIVE, plan=False)
    lose_input(hand, batch_id)
    with pytest.raises(ObjectMissingError):
        planned(hand, batch_id, CREATED + 60)
    assert hand.ledger.state(batch_id).plan is None


def test_a_running_batch_without_input_keeps_results_and_gets_error_lines(hand):
    batch_id = hand.submit(FIVE, output_format="both")
    hand.run(batch_id, shards=1)
    lose_input(hand, batch_id)
    ledger = ledger_at(hand, CREATED + 61)
    record_missing_input(ledger, batch_id)
    assert drain_seconds(ledger.state(batch_id)) > 0
    state = finalize(ledger, batch_id, "cancelled")
    assert batch_object(state).cancel_reason == INPUT_MISSING
    assert state.final
    good = hand.lines(state.final.output_file_id)
    bad = hand.lines(state.final.error_file_id)
    assert [line["custom_id"] for line in good] == ["q-0", "q-1"]
    assert [line["error"]["code"] for line in bad] == [INPUT_MISSING] * 3
    assert {line["custom_id"] for line in bad} == {None}
    assert len({line["id"] for line in bad}) == 3
    assert state.counts().done() == (2, 0)
    assert state.final.parquet_file_id is None


def test_a_new_running_batch_is_not_given_up(hand):
    batch_id = hand.submit(FIVE)
    lose_input(hand, batch_id)
    with pytest.raises(ObjectMissingError):
        finalize(ledger_at(hand, CREATED + 60), batch_id, "expired")
    assert hand.ledger.state(batch_id).final is None


def test_blank_lines_get_no_error(hand):
    batch_id = hand.submit(FIVE.replace(b"\n", b"\n\n", 3))
    lose_input(hand, batch_id)
    state = finalize(ledger_at(hand, CREATED + 61), batch_id, "expired")
    assert state.final
    assert len(hand.lines(state.final.error_file_id)) == 5


class Emptied(MemoryStorage):
    """The input is removed as soon as it is planned, and time passes."""

    now = CREATED

    def create(self, key, data):
        made = super().create(key, data)
        if key.endswith("/plan.json"):
            for entry in list(self.list("projects/default/files/")):
                self.delete(entry.key)
            self.now += 61
        return made


def test_a_run_without_its_input_fails_and_the_next_one_ends_the_batch(tmp_path):
    storage = Emptied()
    bench = Bench(tmp_path, storage, clock=lambda: storage.now)
    batch_id = bench.submit(lines(10))
    with pytest.raises(ObjectMissingError):
        bench.run(batch_id)
    state = bench.run(batch_id)
    assert state.status == "cancelled"
    assert state.cancel
    assert state.cancel.reason == INPUT_MISSING
    assert state.counts().total == 10
