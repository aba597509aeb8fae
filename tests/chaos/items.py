"""What is done to a cluster while it works on a batch; each says what was seen."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.inputs import line
from tests.chaos.cluster import Cluster, until
from tests.chaos.doubling import doubling
from tests.chaos.load import Load
from tests.chaos.process import Process

Seen = dict[str, Any]

_CLOCK = str(Path(__file__).with_name("clock"))
_HOUR = 3600
_ENOUGH = 8
"""Shards without a commit that leave time for a kill."""

_WITHIN = 30.0
"""Seconds within which another worker has a dead one's shards."""


def kill_workers(cluster: Cluster, load: Load, times: int = 3) -> Seen:
    """Kill a worker with -9, then one with its supervisor, and so on in turn."""
    series = _Series(cluster, load)
    seconds, again, gone = [], [], []
    for number in range(times):
        before = series.until_all_work()
        victim = cluster.living("worker")[0]
        if number % 2 == 0:
            victim.kill_child()
        else:
            gone.append(_kill_with_supervisor(victim))
        lacking = cluster.to_do_again(before)
        found = cluster.until_taken_over(before)
        seconds.append(max(found.values()))
        again.append(sum(lacking[name] for name in found))
    assert max(seconds) <= _WITHIN
    return {
        "running again after s": _rounded(seconds),
        "begun or waiting, without a result, at a kill": again,
        "child gone after its supervisor's death after s": _rounded(gone),
        **series.end(),
    }


def kill_engines(cluster: Cluster, load: Load, times: int = 2) -> Seen:
    """Kill the engine's own process, of one worker and then of the other."""
    series = _Series(cluster, load)
    seconds = []
    for number in range(times):
        before = series.until_all_work()
        victim = cluster.living("worker")[number]
        victim.kill_engine()
        seconds.append(max(cluster.until_taken_over(before).values()))
        until(lambda one=victim: one.says("ended with 70"), "status 70", _WITHIN)  # type: ignore[misc]
    return {"running again after s": _rounded(seconds), **series.end()}


class _Series:
    """Batches one after the other, so that there is always one to disturb."""

    def __init__(self, cluster: Cluster, load: Load) -> None:
        """Hand the first one in."""
        self._cluster = cluster
        self._load = load
        self._batches = [cluster.submit(load.data)]
        cluster.until_committed(self._batches[0], 1)

    def until_all_work(self) -> dict[str, str]:
        """Wait until two workers have much to do; return the leases."""
        self._cluster.staff()
        if len(self._cluster.state(self._batches[-1]).pending()) < _ENOUGH:
            self._batches.append(self._cluster.submit(self._load.data))
        return self._cluster.until_all_work(2)

    def end(self) -> Seen:
        """Wait for all, and check them."""
        accounts = [self._cluster.wait(batch_id) for batch_id in self._batches]
        for account in accounts:
            self._load.check(account)
        twice = sum(account.stored_twice for account in accounts)
        return {"results stored twice": twice, "batches": len(accounts)}


def _kill_with_supervisor(victim: Process) -> float:
    """Kill a supervisor; return the seconds that its worker took to end."""
    child, began = victim.child, time.monotonic()
    victim.kill()
    until(lambda: not _lives(child), "the child's end", _WITHIN)
    return time.monotonic() - began


def terminate(cluster: Cluster, load: Load) -> Seen:
    """Send SIGTERM to a worker, and to one that is still loading its engine."""
    victim = cluster.living("worker")[-1]
    batch_id = cluster.submit(load.data)
    cluster.until_committed(batch_id, 1)
    before = cluster.until_all_work(2)
    victim.terminate()
    code, seconds = victim.end(60)
    found = cluster.until_taken_over(before)
    late = cluster.worker()
    until(lambda: late.says("loading"), "loading")
    late.terminate()
    late_code, late_seconds = late.end(60)
    account = cluster.wait(batch_id)
    load.check(account)
    assert code == 0
    assert account.stored_twice == 0
    return {
        "exit": code,
        "ended after s": round(seconds, 1),
        "on another after s": _rounded([max(found.values())]),
        "attempts left open": _marks(cluster, batch_id),
        "while loading: exit": late_code,
        "while loading: ended after s": round(late_seconds, 1),
        "results stored twice": account.stored_twice,
    }


def lose_redis(cluster: Cluster, load: Load, away: float = 30) -> Seen:
    """Empty Redis, twice; stop it for a while, and start it empty."""
    batch_id = cluster.submit(load.data)
    for commits in (1, 3):
        cluster.until_committed(batch_id, commits)
        cluster.redis.client.flushall()
    cluster.until_committed(batch_id, 5)
    before = len(cluster.state(batch_id).commits)
    cluster.redis.stop()
    time.sleep(away)
    meanwhile = len(cluster.state(batch_id).commits) - before
    status = cluster.run("status", batch_id).splitlines()[0]
    cluster.redis.start()
    began = time.monotonic()
    assert cluster.state(batch_id).pending(), "it ended before Redis came back"
    until(cluster.leases, "leases after Redis came back", 120)
    back = time.monotonic() - began
    account = cluster.wait(batch_id)
    load.check(account)
    return {
        "shards committed while it was away": meanwhile,
        "status meanwhile": status,
        "leases again after s": round(back, 1),
        "results stored twice": account.stored_twice,
    }


def deliver_twice(cluster: Cluster, load: Load) -> Seen:
    """Have each message come twice."""
    with doubling(cluster.redis) as double:
        batch_id = cluster.submit(load.data)
        account = cluster.wait(batch_id)
    load.check(account)
    assert double.messages >= len(account.state.made_plan().shards)
    assert account.stored_twice == 0
    return {
        "messages doubled": double.messages,
        "results stored twice": account.stored_twice,
    }


def storm(cluster: Cluster, load: Load, seconds: float = 60) -> Seen:
    """Have the bucket refuse, cut, delay and tear what it is asked."""
    batch_id = cluster.submit(load.data)
    cluster.until_committed(batch_id, 1)
    before = len(cluster.state(batch_id).commits)
    cluster.proxy.close_idle()
    cluster.proxy.storms = True
    time.sleep(seconds)
    cluster.proxy.storms = False
    commits = len(cluster.state(batch_id).commits) - before
    account = cluster.wait(batch_id)
    load.check(account)
    return {
        "requests to the bucket, by fate": dict(cluster.proxy.suffered),
        "shards committed meanwhile": commits,
        "results stored twice": account.stored_twice,
    }


def kill_controllers(cluster: Cluster, load: Load) -> Seen:
    """Kill controllers with -9 as they write a plan, an end, and publish results."""
    proxy = cluster.proxy
    proxy.hold("/plan.json")
    batch_id = cluster.submit(load.data)
    living = cluster.living("controller")
    seconds: list[float] = []
    for written in ("/final.json", "/file.json", None):
        assert proxy.held.wait(300)
        for controller in living:
            controller.kill()
        proxy.let_go()
        if written:
            proxy.hold(written)
        began = time.monotonic()
        living = [cluster.controller(), cluster.controller()]
        if len(seconds) == 0:
            until(lambda: cluster.state(batch_id).plan, "a plan", 60)
            seconds.append(time.monotonic() - began)
    account = cluster.wait(batch_id)
    seconds.append(time.monotonic() - began)
    load.check(account)
    return {
        "killed while writing": "plan.json, final.json, the output's file.json",
        "planned by another after s": round(seconds[0], 1),
        "ended by another after s": round(seconds[1], 1),
        "results stored twice": account.stored_twice,
    }


def poison(cluster: Cluster, load: Load) -> Seen:
    """Have one request kill each engine that it meets."""
    lines = load.data.splitlines(keepends=True)
    lines.insert(len(lines) // 2, line("poison", "and then? " * 600, n=12))
    poisoned = Load(b"".join(lines), load.answers)
    starts = _starts(cluster)
    began = time.monotonic()
    account = cluster.wait(cluster.submit(poisoned.data), 900)
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


def cancel_and_expire(cluster: Cluster, load: Load, window: float = 20) -> Seen:
    """Cancel a batch in the middle, and let another one expire there."""
    cancelled = cluster.submit(load.data)
    cluster.until_committed(cancelled, 2)
    began = time.monotonic()
    cluster.run("cancel", cancelled)
    account = cluster.wait(cancelled)
    seconds = time.monotonic() - began
    load.check(account, "cancelled")
    seen: Seen = {
        "cancelled: kept, not run": [len(account.output), len(account.errors)],
        "cancelled: ended after s": round(seconds, 1),
    }
    expiry = time.monotonic() + window
    account = cluster.wait(cluster.submit_to_expire(load.data, window))
    seconds = time.monotonic() - expiry
    load.check(account, "expired")
    assert account.output
    assert set(account.codes) == {"batch_expired"}
    return seen | {
        "expired: kept, not run": [len(account.output), len(account.errors)],
        "expired: ended after s": round(seconds, 1),
    }


def bend_time(cluster: Cluster, load: Load) -> Seen:
    """Have one worker an hour ahead, one behind, and freeze the latter for a while."""
    for worker in cluster.living("worker"):
        worker.terminate()
        worker.end(60)
    off = [
        cluster.worker(PYTHONPATH=_CLOCK, SECONDS_OFF=f"{hours * _HOUR}")
        for hours in (1, -1)
    ]
    for worker in off:
        cluster.until_ready(worker)
    batch_id = cluster.submit(load.data)
    cluster.until_committed(batch_id, 1)
    before = cluster.until_all_work(2)
    status = cluster.run("status", batch_id)
    pid = off[1].freeze()
    found = cluster.until_taken_over(before)
    until(lambda: _are_committed(cluster, found), "commits of what was frozen", 120)
    os.kill(pid, signal.SIGCONT)
    thawed = time.monotonic()
    until(lambda: off[1].says("asleep for"), "the thawed worker's word", 60)
    noticed = time.monotonic() - thawed
    account = cluster.wait(batch_id)
    load.check(account)
    for worker in off:
        worker.terminate()
        worker.end(60)
    return {
        "status shows": status.splitlines()[0].split("  ")[-1],
        "frozen: running elsewhere after s": _rounded([max(found.values())]),
        "thawed: noticed after s": round(noticed, 1),
        "results stored twice": account.stored_twice,
    }


def fill_storage(cluster: Cluster, load: Load, seconds: float = 90) -> Seen:
    """Have the bucket refuse all that is written, as if it were full; then free it."""
    batch_id = cluster.submit(load.data)
    cluster.until_committed(batch_id, 1)
    cluster.proxy.is_full = True
    time.sleep(seconds)
    said = sum(worker.says("storage") for worker in cluster.living("worker"))
    cluster.proxy.is_full = False
    account = cluster.wait(batch_id)
    load.check(account)
    return {
        "lines on the workers' screens meanwhile": said,
        "results stored twice": account.stored_twice,
    }


def _starts(cluster: Cluster) -> int:
    return sum(worker.says("ready for shards") for worker in cluster.living("worker"))


def _marks(cluster: Cluster, batch_id: str) -> int:
    ledger = cluster.ledger
    top = f"{ledger.keys.of(batch_id).top}/shards/"
    return sum("/attempts/" in entry.key for entry in ledger.storage.list(top))


def _are_committed(cluster: Cluster, names: dict[str, float]) -> bool:
    commits = {
        f"{state.batch.id}/{shard:05d}"
        for state in map(cluster.state, {name.split("/")[1] for name in names})
        for shard in state.commits
    }
    return all(name.split("/", 1)[1] in commits for name in names)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _rounded(seconds: list[float]) -> list[float]:
    return [round(one, 1) for one in seconds]


ITEMS: dict[int, tuple[str, Callable[[Cluster, Load], Seen]]] = {
    1: ("kill -9 a worker, again and again", kill_workers),
    2: ("kill -9 the engine's process", kill_engines),
    3: ("SIGTERM to a worker", terminate),
    4: ("Redis emptied, away, back empty", lose_redis),
    5: ("every task delivered twice", deliver_twice),
    6: ("the bucket in a storm for a minute", storm),
    7: ("controllers killed, two at once", kill_controllers),
    8: ("a request that kills engines", poison),
    9: ("cancelled and expired mid-run", cancel_and_expire),
    10: ("a clock an hour off, a frozen worker", bend_time),
    11: ("the storage full, then freed", fill_storage),
}
