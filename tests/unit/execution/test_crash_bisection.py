"""A request that crashes every engine becomes one error line."""

from functools import partial

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.execution.crash_bisection import AttemptMarker, CrashBisection
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.echo_core import EchoCore
from batchchat.workers.local.single_batch import SingleBatchRun
from tests.support.running import ECHO, SETTINGS, Bench, EchoRegistry, lines, renderer


class FragileCore(EchoCore):
    """Crashes as soon as it computes one of a few requests."""

    def __init__(self, poison, deaths):
        super().__init__(capacity=8)
        self._poison = poison
        self._deaths = deaths

    def step(self):
        texts = {work.prompt.text for _, work in self._due.values()}
        if found := texts & self._poison:
            self._deaths.append(found)
            raise RuntimeError("poison")
        return super().step()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, settings=SETTINGS.model_copy(update={"shard_requests": 50}))


class BrokenCore(EchoCore):
    """Crashes on any request, as on a broken GPU, during its first few starts."""

    def __init__(self, starts, broken):
        super().__init__(capacity=8)
        starts.append(self)
        self._is_broken = len(starts) <= broken

    def step(self):
        if self._is_broken:
            raise RuntimeError("a fault of the GPU")
        return super().step()


def run(bench, batch_id, poison):
    """Run a batch; return its state and the deaths of the engine."""
    deaths: list[set[str]] = []
    return run_on(bench, batch_id, partial(FragileCore, poison, deaths)), deaths


def run_on(bench, batch_id, build):
    """Run a batch on engines with the given cores; return its state."""

    def start(_model):
        engine = EngineDriver(build, renderer())
        engine.start()
        return engine

    return SingleBatchRun(
        Ledger(bench.storage, "default"),
        bench.settings,
        EchoRegistry(Catalog({"echo": ECHO}), bench.locks),
        start_engine=start,
        stop=bench.stop,
        progress=bench.progress,
        locks=bench.locks,
    ).run(batch_id)


def test_a_poison_request_is_an_error_line_and_all_others_complete(bench):
    state, deaths = run(bench, bench.submit(lines(120)), {"question 77"})
    output, errors = bench.results(state)
    assert state.status == "completed"
    assert [e["custom_id"] for e in errors] == ["q-77"]
    assert errors[0]["response"]["status_code"] == 500
    assert errors[0]["response"]["body"]["error"]["code"] == "engine_error"
    assert [o["custom_id"] for o in output] == [f"q-{i}" for i in range(120) if i != 77]
    assert len(deaths) <= 6


def test_the_error_of_a_poison_request_gives_the_reason(bench):
    state, _ = run(bench, bench.submit(lines(20)), {"question 7"})
    _, (error,) = bench.results(state)
    message = error["response"]["body"]["error"]["message"]
    assert message.endswith("repeatedly crashed the engine: RuntimeError: poison")


def test_each_death_of_the_engine_is_reported_with_its_reason(bench):
    _, deaths = run(bench, bench.submit(lines(20)), {"question 7"})
    notices = list(bench.progress.notices)
    assert len(notices) == len(deaths)
    assert {notice.partition(",")[0] for notice in notices} == {
        "engine died (RuntimeError: poison); restarting"
    }
    assert all(notice.endswith(" of 8") for notice in notices)


def test_all_poison_requests_of_a_shard_are_found(bench):
    poison = {"question 3", "question 4", "question 40", "question 99"}
    state, _ = run(bench, bench.submit(lines(120)), poison)
    _, errors = bench.results(state)
    assert [e["custom_id"] for e in errors] == ["q-3", "q-4", "q-40", "q-99"]


def test_a_broken_engine_makes_no_request_poison(bench):
    starts: list[BrokenCore] = []
    batch_id = bench.submit(lines(120))
    state = run_on(bench, batch_id, partial(BrokenCore, starts, broken=7))
    assert state.counts().completed == 120
    assert len(starts) == 8


def test_a_single_death_needs_no_isolation():
    assert not CrashBisection((AttemptMarker(created_at=0),)).needs_isolation


def test_a_suspect_is_not_in_the_first_group():
    markers = [
        AttemptMarker(created_at=0, isolated=lines) for lines in ((1, 2, 3), (2,))
    ]
    bisection = CrashBisection(tuple(markers))
    assert bisection.poison_lines() == set()
    assert list(bisection.probe_groups([1, 2, 3, 4])) == [(4,), (2,), (1,), (3,)]


def test_lines_in_flight_at_every_death_are_probed_early():
    markers = [
        AttemptMarker(created_at=0, in_flight=lines) for lines in ((5, 6, 7), (6, 7, 8))
    ]
    probe_groups = list(CrashBisection(tuple(markers)).probe_groups(range(100)))
    assert probe_groups[1:3] == [(6,), (7,)]
    assert sorted(line for lines in probe_groups for line in lines) == list(range(100))
    assert len(probe_groups) == 2 + 14


@pytest.mark.parametrize(
    ("observed", "unproven", "unobserved", "is_poison"),
    [
        (1, 0, 1, False),
        (2, 0, 0, True),
        (0, 0, 3, False),
        (0, 0, 4, True),
        (1, 1, 0, False),
        (0, 3, 0, False),
        (0, 4, 0, True),
    ],
)
def test_unobserved_deaths_and_unproven_engines_weigh_less(
    observed, unproven, unobserved, is_poison
):
    markers = [
        AttemptMarker(created_at=0, isolated=(7,), in_flight=(7,), engine_proven=True)
    ] * observed
    markers += [AttemptMarker(created_at=0, isolated=(7,), in_flight=(7,))] * unproven
    markers += [
        AttemptMarker(created_at=0, isolated=(7,), engine_proven=True)
    ] * unobserved
    assert (CrashBisection(tuple(markers)).poison_lines() == {7}) is is_poison
