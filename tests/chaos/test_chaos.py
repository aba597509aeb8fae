"""The short form of `make chaos`: every disturbance, on small batches.

A disturbance starts when the batch has reached some state, and the batch can't end
before: another one is submitted, its last commit is refused, or one of its requests
takes days. So the speed of the machine makes no difference. The tests check the results
of the requests, not how long they took.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.acceptance.inputs import line, lognormal
from tests.chaos import early_ends, process_faults, service_faults
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.load import Load
from tests.chaos.process_faults import SUPERVISOR, WORKER
from tests.chaos.series import Seen

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
        one.start_workers()
        load.answers = one.wait_for_end(one.submit(load.data)).answers
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
        one.start_workers()
        load.answers = one.wait_for_end(one.submit(load.data)).answers
        yield one, load


@pytest.mark.engine
def test_a_lost_redis_a_killed_engine_and_a_killed_worker_lose_no_result(real):
    one, load = real
    print(service_faults.lose_redis(one, load, away=2))  # noqa: T201 - measured
    print(process_faults.kill_engines(one, load, times=1))  # noqa: T201
    print(process_faults.kill_workers(one, load, [WORKER]))  # noqa: T201
    assert one.log_summary()["tracebacks"] == 0


DISTURBANCES: dict[str, Callable[[Cluster, Load], Seen]] = {
    "supervisor killed": partial(process_faults.kill_workers, kinds=[SUPERVISOR]),
    "worker terminated": process_faults.terminate_worker,
    "messages duplicated": service_faults.duplicate_messages,
    "bucket disturbed": partial(service_faults.disturb_bucket, seconds=1),
    "controllers killed": process_faults.kill_controllers,
    "cancelled": lambda one, load: early_ends.cancel(one, without_end(load)),
    "expired": lambda one, load: early_ends.expire(one, without_end(load)),
    "clocks skewed, worker frozen": process_faults.skew_clocks,
    "bucket full": partial(service_faults.fill_storage, seconds=1),
    "delivery interrupted": service_faults.interrupt_delivery,
    "workers killed": process_faults.kill_workers,
}
EXTENDED = {"workers killed"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.extended] if name in EXTENDED else [])
        for name in DISTURBANCES
    ],
)
def test_every_request_has_one_result_whatever_is_disturbed(simulated, name):
    one, load = simulated
    one.start_workers()
    print(DISTURBANCES[name](one, load))  # noqa: T201 - measured
    assert one.log_summary()["tracebacks"] == 0


def without_end(load: Load) -> Load:
    """Return the load with a hundred requests more, each of which takes hours."""
    endless = (line(f"endless-{n}", max_tokens=1_000_000) for n in range(100))
    return Load(load.data + b"".join(endless), load.answers)
