"""The short form of `make chaos`: the worst that happens, on one cluster with vLLM."""

import os
from importlib.util import find_spec
from typing import Any

import pytest

from tests.acceptance.inputs import lognormal
from tests.chaos import items
from tests.chaos.cluster import cluster
from tests.chaos.load import Load

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.server]

SHORT: dict[str, Any] = {
    "lease_seconds": "4",
    "sweep_seconds": "1",
    "shard_requests": "50",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="module")
def real(folder, moto):
    """A cluster of two workers with real vLLM, and a load with its answers."""
    if find_spec("vllm") is None:
        pytest.skip("needs vLLM: install batchchat[cpu]")
    load = Load(lognormal(1_000, middle=48, most=256))
    with cluster(
        folder / "real", moto, model_cache=str(folder / "models"), **SHORT
    ) as one:
        one.model = "fragile"
        one.staff()
        load.answers = one.wait(one.submit(load.data)).answers
        yield one, load


@pytest.fixture(scope="module")
def simulated(folder, moto):
    """A cluster whose workers answer noise, at a speed that leaves time to disturb."""
    load = Load(lognormal(800, middle=30, most=60))
    with cluster(
        folder / "simulated", moto, 15, model_cache=str(folder / "models"), **SHORT
    ) as one:
        one.staff()
        load.answers = one.wait(one.submit(load.data)).answers
        yield one, load


@pytest.mark.engine
@pytest.mark.skipif(
    "CHAOS" not in os.environ,
    reason="a fast machine is through before it is disturbed: set CHAOS=1 to try it",
)
@pytest.mark.timeout(400)
def test_killed_workers_a_lost_redis_and_a_poisonous_request_cost_no_answer(real):
    one, load = real
    for disturb in (
        lambda: items.lose_redis(one, load, away=3),
        lambda: items.kill_workers(one, load, times=1),
        lambda: items.terminate(one, load),
    ):
        one.staff()
        print(disturb())  # noqa: T201 - what was seen
    one.staff(1)  # engines that start one by one start faster
    few = Load(b"".join(load.data.splitlines(keepends=True)[:150]), load.answers)
    print(items.poison(one, few))  # noqa: T201
    assert one.talk()["tracebacks"] == 0


@pytest.mark.parametrize(
    "disturb",
    [
        items.deliver_twice,
        items.kill_controllers,
        pytest.param(
            lambda one, load: items.cancel_and_expire(one, load, window=4),
            marks=pytest.mark.skipif(
                "CHAOS" not in os.environ, reason="its window is a matter of speed"
            ),
        ),
        lambda one, load: items.fill_storage(one, load, seconds=5),
    ],
    ids=["twice", "controllers", "ended", "full"],
)
def test_every_answer_is_there_once_whatever_is_disturbed(simulated, disturb):
    one, load = simulated
    one.staff()
    disturb(one, load)
    assert one.talk()["tracebacks"] == 0
