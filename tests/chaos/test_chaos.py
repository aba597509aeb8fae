"""The short form of `make chaos`: every disturbance, on small batches.

A disturbance begins when something was seen of the batch, and the batch can't end
before: another is handed in, its last commit is held back, or a request in it would
take days. So neither a slow nor a fast machine makes a difference; only what became
of the requests is judged here, not how long it took.
"""

from typing import Any

import pytest

from tests.acceptance.inputs import line, lognormal
from tests.chaos import items
from tests.chaos.cluster import cluster
from tests.chaos.load import Load

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.timeout(900),
]

SHORT: dict[str, Any] = {
    "lease_seconds": "3",
    "controller_interval_seconds": "0.5",
    "grace_seconds": "1",
    "checkpoint_seconds": "0.5",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture
def real(folder, moto):
    """A cluster of two workers with real vLLM, and a load with its answers."""
    load = Load(lognormal(600, middle=48, most=256))
    with cluster(
        folder / "real",
        moto,
        model_cache=str(folder / "models"),
        shard_requests="30",
        engine_process="subprocess",
        **SHORT,
    ) as one:
        one.model = "few"
        one.staff()
        load.answers = one.wait(one.submit(load.data)).answers
        yield one, load


@pytest.fixture(scope="module")
def simulated(folder, moto):
    """A cluster whose workers answer noise, 30 tokens a second for each request."""
    load = Load(lognormal(400, middle=30, most=75))
    with cluster(
        folder / "simulated",
        moto,
        30,
        model_cache=str(folder / "models"),
        shard_requests="25",
        **SHORT,
    ) as one:
        one.model = "endless"
        one.staff()
        load.answers = one.wait(one.submit(load.data)).answers
        yield one, load


@pytest.mark.engine
def test_a_lost_redis_a_killed_engine_and_a_killed_worker_cost_no_answer(real):
    one, load = real
    print(items.lose_redis(one, load, away=2))  # noqa: T201 - what was seen
    print(items.kill_engines(one, load, times=1))  # noqa: T201
    print(items.kill_workers(one, load, times=1))  # noqa: T201
    assert one.talk()["tracebacks"] == 0


@pytest.mark.parametrize(
    "disturb",
    [
        lambda one, load: items.kill_workers(one, load, times=2),
        items.terminate,
        items.deliver_twice,
        lambda one, load: items.storm(one, load, seconds=1),
        items.kill_controllers,
        lambda one, load: items.cancel(one, without_end(load)),
        lambda one, load: items.expire(one, without_end(load)),
        items.bend_time,
        lambda one, load: items.fill_storage(one, load, seconds=1),
        items.deliver_elsewhere,
    ],
    ids=[
        "killed",
        "terminated",
        "twice",
        "storm",
        "controllers",
        "cancelled",
        "expired",
        "frozen",
        "full",
        "delivered",
    ],
)
def test_every_answer_is_there_once_whatever_is_disturbed(simulated, disturb):
    one, load = simulated
    one.staff()
    print(disturb(one, load))  # noqa: T201 - what was seen
    assert one.talk()["tracebacks"] == 0


def without_end(load: Load) -> Load:
    """Return the load with a hundred requests more, each of which takes hours."""
    endless = (line(f"endless-{n}", max_tokens=1_000_000) for n in range(100))
    return Load(load.data + b"".join(endless), load.answers)
