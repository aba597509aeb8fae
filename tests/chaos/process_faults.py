"""Faults of processes: they die, freeze, or have a wrong clock."""

import os
import signal
import time
from collections.abc import Sequence
from functools import partial

from batchchat.workers.broker.messages import WorkMessage
from tests.acceptance.inputs import line
from tests.chaos.cluster import PATIENCE_SECONDS, Cluster, until
from tests.chaos.load import Load
from tests.chaos.process import (
    ENGINE_DEAD,
    LEASE_LOST,
    LOADING,
    READY,
    SUSPENDED,
    Process,
)
from tests.chaos.series import CLOCK_FOLDER, BatchSeries, Seen, is_gone, rounded

WORKER, SUPERVISOR = "worker", "supervisor"

_HOUR = 3600


def kill_workers(
    cluster: Cluster, load: Load, kinds: Sequence[str] = (WORKER, SUPERVISOR, WORKER)
) -> Seen:
    """Kill workers or their supervisors with -9, one after the other."""
    series = BatchSeries(cluster, load)
    gone: list[float] = []

    def kill() -> int:
        return cluster.alive("worker")[0].kill_child()

    for kind in kinds:
        if kind == WORKER:
            series.disturb(kill)
        else:  # its worker hands its shards back
            series.wait_until_busy()
            gone.append(_kill_with_supervisor(cluster.alive("worker")[0]))
    return {
        **series.end(),
        "child gone after its supervisor's death after s": rounded(gone),
    }


def kill_engines(cluster: Cluster, load: Load, times: int = 2) -> Seen:
    """Kill the engine's own process, of one worker and then of the other."""
    series = BatchSeries(cluster, load)
    for number in range(times):
        victim = cluster.alive("worker")[number % len(cluster.alive("worker"))]
        ends = victim.count_in_log(ENGINE_DEAD)
        series.disturb(victim.kill_engine)
        until(lambda v=victim, n=ends: v.count_in_log(ENGINE_DEAD) > n, "status 70")  # type: ignore[misc]
    return series.end()


def _kill_with_supervisor(victim: Process) -> float:
    """Kill a supervisor; return the seconds that its worker took to end."""
    child, began = victim.child, time.monotonic()
    victim.kill()
    until(partial(is_gone, child), "the child's end")
    return time.monotonic() - began


def terminate_worker(cluster: Cluster, load: Load) -> Seen:
    """Send SIGTERM to a worker, and to one that is still loading its engine."""
    series = BatchSeries(cluster, load)
    series.wait_until_busy()
    victim = cluster.alive("worker")[-1]
    victim.terminate()
    code, seconds = victim.end(PATIENCE_SECONDS)
    late = cluster.worker()
    until(lambda: late.count_in_log(LOADING), "loading")
    late.terminate()
    late_code, late_seconds = late.end(PATIENCE_SECONDS)
    return {
        "exit": code,
        "ended after s": round(seconds, 1),
        "while loading: exit": late_code,
        "while loading: ended after s": round(late_seconds, 1),
        **series.end(),
        "attempts left open": series.open_attempts(),
    }


def kill_controllers(cluster: Cluster, load: Load) -> Seen:
    """Kill controllers with -9 as they write a plan, an end, and publish results."""
    proxy = cluster.proxy
    proxy.block("/plan.json")
    batch_id = cluster.submit(load.data)
    living = cluster.alive("controller")
    seconds: list[float] = []
    for written in ("/final.json", "/file.json", None):
        assert proxy.blocked.wait(PATIENCE_SECONDS)
        for controller in living:
            controller.kill_both()
        proxy.unblock()
        if written:
            proxy.block(written)
        began = time.monotonic()
        living = [cluster.controller(), cluster.controller()]
        if len(seconds) == 0:
            until(lambda: cluster.state(batch_id).plan, "a plan")
            seconds.append(time.monotonic() - began)
    account = cluster.wait_for_end(batch_id)
    seconds.append(time.monotonic() - began)
    load.check(account)
    return {
        "killed while writing": "plan.json, final.json, the output's file.json",
        "planned by another after s": round(seconds[0], 1),
        "ended by another after s": round(seconds[1], 1),
        "results stored twice": account.stored_twice,
    }


def send_poison_request(cluster: Cluster, load: Load) -> Seen:
    """Have one request kill each engine that it meets."""
    lines = load.data.splitlines(keepends=True)
    lines.insert(len(lines) // 2, line("poison", "and then? " * 600, n=12))
    poisoned = Load(b"".join(lines), load.answers)
    starts = _starts(cluster)
    began = time.monotonic()
    account = cluster.wait_for_end(cluster.submit(poisoned.data), 900)
    poisoned.check(account)
    found = [(line["custom_id"], line["response"]) for line in account.errors]
    assert [custom_id for custom_id, _ in found] == ["poison"], found
    assert account.codes == {"engine_error": 1}
    return {
        "error lines": dict(account.codes),
        "engine starts that it took": _starts(cluster) - starts,
        "batch took s": round(time.monotonic() - began),
        "results stored twice": account.stored_twice,
    }


def skew_clocks(cluster: Cluster, load: Load) -> Seen:
    """Have one worker an hour ahead, one behind, and freeze the latter for a while."""
    for worker in cluster.alive("worker"):
        worker.terminate()
        worker.end(PATIENCE_SECONDS)
    off = [
        cluster.worker(PYTHONPATH=CLOCK_FOLDER, SECONDS_OFF=f"{hours * _HOUR}")
        for hours in (1, -1)
    ]
    for worker in off:
        cluster.wait_until_ready(worker)
    series = BatchSeries(cluster, load)
    frozen: list[int] = []

    def freeze() -> int:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        frozen[:] = [off[1].freeze()]
        return 0

    found = series.disturb(freeze)
    until(lambda: _are_committed(cluster, found), "commits of what was frozen")
    notices = _suspension_notices(off[1])
    os.kill(frozen[0], signal.SIGCONT)
    thawed = time.monotonic()
    until(lambda: _suspension_notices(off[1]) > notices, "the resumed worker's notice")
    noticed = time.monotonic() - thawed
    seen = series.end()
    for worker in off:
        worker.terminate()
        worker.end(PATIENCE_SECONDS)
    return {"thawed: noticed after s": round(noticed, 1), **seen}


def _suspension_notices(worker: Process) -> int:
    """Count what a worker logs once it resumes.

    A worker that was frozen while it renewed a lease sees no gap between two renewals;
    it learns from Redis that the lease is gone.
    """
    return worker.count_in_log(SUSPENDED) + worker.count_in_log(LEASE_LOST)


def _starts(cluster: Cluster) -> int:
    return sum(worker.count_in_log(READY) for worker in cluster.alive("worker"))


def _are_committed(cluster: Cluster, names: dict[str, float]) -> bool:
    messages = [WorkMessage(*name.split("/")) for name in names]
    states = {batch: cluster.state(batch) for _, batch, _ in messages}
    # The state of an ended batch has no commits: its results are in its files.
    return all(
        states[message.batch_id].is_terminal
        or message.shard in states[message.batch_id].commits
        for message in messages
    )
