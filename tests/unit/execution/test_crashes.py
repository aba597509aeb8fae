"""A process killed before or after any write loses and duplicates nothing."""

import random

import pytest

from batchchat.jobs.storage import MemoryStorage
from tests.support.mortal_storage import Killed, Mortal
from tests.support.running import Bench, lines, text

REQUESTS = 25


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("locks"))
    output, _ = bench.results(bench.run(bench.submit(lines(REQUESTS))))
    return [(result["custom_id"], text(result)) for result in output]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_killed_at_any_write_has_the_same_results(tmp_path, undisturbed, after):
    deadline, survived = 0, False
    while not survived:
        deadline += 1
        bench = Bench(tmp_path)
        batch_id = bench.submit(lines(REQUESTS))
        survived = _run_until(bench, batch_id, deadline, after=after)
        state = bench.run(batch_id)
        output, errors = bench.results(state)
        assert [(r["custom_id"], text(r)) for r in output] == undisturbed, deadline
        assert errors == []
        assert state.counts().completed == REQUESTS
    assert deadline > 12


@pytest.mark.parametrize("seed", range(10))
def test_a_run_killed_repeatedly_still_completes(tmp_path, undisturbed, seed):
    source = random.Random(seed)
    bench = Bench(tmp_path, MemoryStorage())
    batch_id = bench.submit(lines(REQUESTS))
    for _ in range(4):
        _run_until(bench, batch_id, source.randint(1, 9), after=source.random() < 0.5)
    output, _ = bench.results(bench.run(batch_id))
    assert [(r["custom_id"], text(r)) for r in output] == undisturbed


def _run_until(bench, batch_id, deadline, *, after):
    """Run until the n-th write; return whether the run ended before it."""
    try:
        bench.run(batch_id, Mortal(bench.storage, deadline, after=after))
    except Killed:
        return False
    return True
