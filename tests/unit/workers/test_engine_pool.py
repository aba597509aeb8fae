"""Several engines share the work of one batch, whatever becomes of one of them."""

import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.errors import EngineDeadError, EngineStartError
from batchchat.jobs.storage import LocalStorage
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.engine.engine_slots import EngineSlot
from batchchat.workers.local import engine_pool
from batchchat.workers.local.engine_launch import PoolConfig
from batchchat.workers.local.engine_process import EngineProcess
from tests.support.running import SETTINGS, Bench, lines, renderer
from tests.support.wait import wait_until


class InThread:
    """A process whose work a thread does; a kill lets it call nothing any more."""

    def __init__(self, config, start):
        self._killed = False
        self._process = EngineProcess(config, start)
        self._status = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._process.run()
        except BaseException:  # noqa: BLE001 - a crash of the process
            self._status = 70

    def wait(self, timeout=None):
        """Wait for the end of the thread."""
        self._thread.join(0 if self._killed else timeout)
        if self._thread.is_alive() and not self._killed:
            raise subprocess.TimeoutExpired("engine", timeout or 0)
        return self._status

    def kill(self):
        """Have `wait` return, although the thread does what it was doing."""
        self._killed, self._status = True, -9


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make a bench whose engines are started by functions, one for each engine."""
    monkeypatch.setattr(engine_pool, "_BACKOFF", Backoff(0.01, 0.01))

    def make(*starts):
        settings = SETTINGS.model_copy(update={"storage": str(tmp_path / "storage")})
        pool = PoolConfig(
            slots=[EngineSlot(number + 1) for number in range(len(starts))],
            log=lambda number: tmp_path / f"{number}.log",
            gives_up=True,
            launch=lambda config, slot: InThread(config, starts[slot.number - 1]),
        )
        storage = LocalStorage(settings.storage)
        return Bench(tmp_path, storage=storage, settings=settings, pool=pool)

    return make


class Engine:
    """Starts echo engines that take `per_token` seconds; counts their requests."""

    def __init__(self, per_token=0.0, capacity=8, *, fails=()):
        self.requests: Counter[str] = Counter()
        self.starts = 0
        self.start_when: Callable[[], object] = lambda: True
        self._options = {"per_token": per_token, "capacity": capacity}
        self._failures = list(fails)

    def __call__(self, _model):
        self.starts += 1
        wait_until(self.start_when)
        if self._failures and (error := self._failures.pop(0)):
            raise error
        engine: Any = start_echo(renderer(), **self._options)
        submit = engine.submit

        def counted(work, on_done, timeout):
            accepted = submit(work, on_done, timeout)
            self.requests[work.key] += accepted
            return accepted

        engine.submit = counted
        return engine


def texts(bench, state):
    output, errors = bench.results(state)
    assert errors == []
    return [(it["custom_id"], it["response"]["body"]["choices"]) for it in output]


def test_a_slow_and_a_fast_engine_both_get_work_in_proportion(make):
    slow, fast = Engine(per_token=0.1), Engine(per_token=0.001)
    fast.start_when = lambda: slow.requests
    bench = make(slow, fast)
    found = texts(bench, bench.run(bench.submit(lines(300))))
    assert [custom_id for custom_id, _ in found] == [f"q-{n}" for n in range(300)]
    assert 0 < slow.requests.total() < fast.requests.total()
    assert slow.requests.total() + fast.requests.total() == 300
    alone = Bench(bench.locks, settings=bench.settings)
    assert found == texts(alone, alone.run(alone.submit(lines(300))))


def test_a_batch_that_one_engine_could_hold_is_shared(make):
    one, other = (Engine(per_token=0.05, capacity=1_000) for _ in range(2))
    other.start_when = lambda: one.requests
    bench = make(one, other)
    assert len(texts(bench, bench.run(bench.submit(lines(140))))) == 140
    assert one.requests.total() > 0
    assert other.requests.total() > 0


def test_a_long_tail_leaves_no_request_behind(make):
    bench = make(Engine(per_token=0.01), Engine())
    long = lines(3, max_tokens=60).replace(b'"q-', b'"long-')
    state = bench.run(bench.submit(lines(50) + long))
    assert len(texts(bench, state)) == 53


def test_the_batch_continues_if_one_engine_cannot_start(make):
    broken = Engine(fails=[EngineStartError("out of memory")])
    other = Engine(per_token=0.001)
    other.start_when = lambda: bench.progress.notices
    bench = make(broken, other)
    assert len(texts(bench, bench.run(bench.submit(lines(80))))) == 80
    assert list(bench.progress.notices) == [
        "engine 1 cannot run (out of memory); others continue"
    ]
    assert broken.starts == 1
    states = {engine.number: engine.state for engine in bench.progress.engines}
    assert states[1] == "cannot run"


def test_if_no_engine_can_start_the_error_is_that_of_one_engine(make):
    broken = [Engine(fails=[EngineStartError("out of memory", hint="x")])] * 2
    bench = make(*(Engine(fails=[EngineStartError("no memory")]) for _ in broken))
    with pytest.raises(EngineStartError, match="no memory"):
        bench.run(bench.submit(lines(10)))


def test_an_engine_that_has_run_gets_another_try(make):
    class Dying(Engine):
        def __call__(self, model):
            engine = super().__call__(model)
            if self.starts == 1:
                threading.Timer(0.3, engine.abandon, ["it hangs"]).start()
            return engine

    dying = Dying(0.01, fails=[None, EngineStartError("memory is in use")])
    bench = make(dying, Engine(per_token=0.02))
    assert len(texts(bench, bench.run(bench.submit(lines(400))))) == 400
    assert dying.starts >= 2
    assert any("engine 1 died" in text for text in bench.progress.notices)


class Dead:
    """A process that was killed."""

    def wait(self, _timeout=None):
        """Return its exit status."""
        return -9

    def kill(self):
        raise NotImplementedError


def only_dead(bench, *numbers):
    """Have the processes of the engines with these numbers die at once."""
    launch = bench.pool.launch
    bench.pool = replace(
        bench.pool,
        launch=lambda config, slot: (
            Dead() if slot.number in numbers else launch(config, slot)
        ),
    )


def test_the_end_does_not_wait_for_an_engine_that_loads(make):
    loading, ended = Engine(), threading.Event()
    loading.start_when = ended.is_set
    bench = make(loading, Engine())
    assert len(texts(bench, bench.run(bench.submit(lines(60))))) == 60
    ended.set()
    assert loading.requests.total() == 0


def test_a_process_that_keeps_dying_is_given_up(make, monkeypatch):
    monkeypatch.setattr(engine_pool, "_MAX_DEATHS", 3)
    bench = make(Engine(), Engine(per_token=0.05))
    only_dead(bench, 1)
    assert len(texts(bench, bench.run(bench.submit(lines(60))))) == 60
    *restarts, last = bench.progress.notices
    assert [text[-7:] for text in restarts] == [" 1 of 3", " 2 of 3"]
    assert last.startswith("engine 1 cannot run (the engine's process was ended by")


def test_the_error_of_processes_that_all_die_names_the_reason(make, monkeypatch):
    monkeypatch.setattr(engine_pool, "_MAX_DEATHS", 2)
    bench = make(Engine(), Engine())
    only_dead(bench, 1, 2)
    with pytest.raises(EngineDeadError, match="was ended by signal 9"):
        bench.run(bench.submit(lines(10)))
    died = [text for text in bench.progress.notices if "restarting, 1 of 2" in text]
    assert len(died) == 2
