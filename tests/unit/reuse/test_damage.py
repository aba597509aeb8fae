"""What is missing or damaged when answers are reused is computed again."""

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.planning.planner import make_plan, plan_limits
from batchchat.jobs.reuse.index_building import store_index
from tests.support.reusing import count_computed, run, submit
from tests.support.running import ECHO, Bench, EchoRegistry, lines, text

DATA = lines(30)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def first(bench):
    state = run(bench, DATA)
    store_index(bench.ledger, state, renderers(bench))
    return state


def renderers(bench):
    return EchoRegistry(Catalog({"echo": ECHO}), bench.locks)


@pytest.fixture
def computed(bench, first, monkeypatch):  # noqa: ARG001 - after it
    return count_computed(bench, monkeypatch)


def answers(bench, state):
    return [text(result) for result in bench.results(state)[0]]


def damage(bench, key, place=-3):
    data = bytearray(bench.storage.get(key))
    data[place] ^= 1
    bench.storage.put(key, bytes(data))


def plan(bench, batch_id):
    """Plan a batch, of which nothing has been run then."""
    ledger, limits = bench.ledger, plan_limits(bench.settings)
    return make_plan(ledger, ledger.batch(batch_id), renderers(bench), limits)


@pytest.mark.parametrize("how", ["missing", "damaged", "cut"])
def test_a_bad_index_is_made_again(bench, first, how):
    key = bench.ledger.keys.batch(first.batch.id).answer_index
    good = bench.storage.get(key)
    if how == "missing":
        bench.storage.delete(key)
    elif how == "damaged":
        damage(bench, key)
    else:
        bench.storage.put(key, good[:-40])
    second = run(bench, DATA, first.batch.id)
    assert second.reused() == 30
    assert bench.storage.get(key) == good


def test_an_index_that_can_not_be_made_again_reuses_nothing(bench, first):
    keys = bench.ledger.keys
    damage(bench, keys.batch(first.batch.id).answer_index)
    batch_id = submit(bench, DATA, first.batch.id)
    bench.storage.delete(keys.content(first.batch.input_file_id))
    second = bench.run(batch_id)
    assert second.counts().done() == (30, 0)
    assert second.reused() == 0
    assert answers(bench, second) == answers(bench, first)


def test_an_answer_that_is_damaged_is_computed(bench, first, computed):
    key = bench.ledger.keys.content(first.final.output_file_id)
    place = bench.storage.get(key).index(b'"q-11"') + 200
    good = answers(bench, first)
    damage(bench, key, place)
    second = run(bench, DATA, first.batch.id)
    assert computed == ["question 11"]
    assert second.reused() == 29
    assert answers(bench, second) == good


def test_results_that_disappear_before_the_plan_are_computed(bench, first, computed):
    batch_id = submit(bench, DATA, first.batch.id)
    good = answers(bench, first)
    bench.storage.delete(bench.ledger.keys.content(first.final.output_file_id))
    second = bench.run(batch_id)
    assert len(computed) == 30
    assert answers(bench, second) == good


def test_results_that_disappear_after_the_plan_are_computed(bench, first, computed):
    batch_id = submit(bench, DATA, first.batch.id)
    assert plan(bench, batch_id).reuse.requests == 30
    good = answers(bench, first)
    bench.storage.delete(bench.ledger.keys.content(first.final.output_file_id))
    second = bench.run(batch_id)
    assert len(computed) == 30
    assert answers(bench, second) == good


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_without_the_map_of_the_plan_requests_are_computed(bench, first, computed, how):
    batch_id = submit(bench, DATA, first.batch.id)
    reuse = plan(bench, batch_id).reuse
    key = bench.ledger.keys.batch(batch_id).reuse_map(reuse.map)
    if how == "missing":
        bench.storage.delete(key)
    else:
        damage(bench, key)
    second = bench.run(batch_id)
    assert second.counts().done() == (30, 0)
    assert len(computed) == 30 if how == "missing" else 0 < len(computed) < 30
    assert answers(bench, second) == answers(bench, first)
