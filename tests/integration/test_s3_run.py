"""Whole runs whose every object is in a bucket."""

import pytest

from tests.support.mortal_storage import Killed, Mortal
from tests.support.running import Bench, lines, text

pytestmark = pytest.mark.server


@pytest.fixture
def bench(tmp_path, moto):
    return Bench(tmp_path, moto.storage())


def test_a_batch_completes_in_a_bucket(bench):
    state = bench.run(bench.submit(lines(50)))
    output, errors = bench.results(state)
    assert [result["custom_id"] for result in output] == [f"q-{i}" for i in range(50)]
    assert errors == []
    assert (state.status, state.counts().completed) == ("completed", 50)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("deadline", [1, 3, 5, 8, 11])
def test_a_run_killed_at_a_write_to_a_bucket_can_be_resumed(bench, deadline, after):
    batch_id = bench.submit(lines(25))
    with pytest.raises(Killed):
        bench.run(batch_id, Mortal(bench.storage, deadline, after=after))
    undisturbed = Bench(bench.locks)
    expected, _ = undisturbed.results(undisturbed.run(undisturbed.submit(lines(25))))
    output, errors = bench.results(bench.run(batch_id))
    assert [(r["custom_id"], text(r)) for r in output] == [
        (r["custom_id"], text(r)) for r in expected
    ]
    assert errors == []
