"""A process killed around any write of a batch with reuse loses nothing."""

from contextlib import suppress

import pytest

from tests.support.mortal_storage import Killed, Mortal
from tests.support.reusing import run, submit
from tests.support.running import Bench, lines, text

FIRST, SECOND = lines(16), lines(24)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_around_any_write_loses_and_duplicates_nothing(tmp_path, after):
    bench = Bench(tmp_path)
    expected = answers(bench, run(bench, SECOND, seed=1))
    deadline = killed = 0
    while killed == deadline:
        deadline += 1
        first = bench.submit(FIRST)
        killed_first = is_killed(bench, first, deadline, after=after)
        assert answers(bench, bench.run(first)) == expected[:16], deadline
        second = submit(bench, SECOND, first)
        killed += is_killed(bench, second, deadline, after=after) or killed_first
        resumed = bench.run(second)
        assert answers(bench, resumed) == expected, deadline
        assert resumed.reused() == 16, deadline
    assert deadline > 14


def is_killed(bench, batch_id, deadline, *, after):
    """Run a batch until the n-th write; return whether it has not ended before."""
    with suppress(Killed):
        bench.run(batch_id, Mortal(bench.storage, deadline, after=after))
        return False
    return True


def answers(bench, state):
    output, errors = bench.results(state)
    assert errors == []
    return [(one["custom_id"], text(one)) for one in output]
