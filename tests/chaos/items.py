"""What is done to a cluster while it works on a batch; each says what was seen."""

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from pyarrow import parquet

from batchchat.workers.broker.messages import WorkMessage
from tests.acceptance.inputs import line
from tests.chaos.cluster import EXPORTS, Cluster, until
from tests.chaos.doubling import doubling
from tests.chaos.load import Load
from tests.chaos.process import Process
from tests.support.servers.faulty_proxy import STORM

Seen = dict[str, Any]

_CLOCK = str(Path(__file__).with_name("clock"))
_HOUR = 3600
_ENOUGH = 8
"""Shards without a commit that leave time for a kill."""

_ENGINE_DEAD = "ended with 70"
_DAY = 86_400
_LONG = 300.0
"""Seconds after which what should have come by then never will."""


def kill_workers(cluster: Cluster, load: Load, times: int = 3) -> Seen:
    """Kill a worker with -9, then one with its supervisor, and so on in turn."""
    series = _Series(cluster, load)
    gone: list[float] = []

    def kill() -> int:
        victim = cluster.living("worker")[0]
        child = victim.child
        if len(series.seconds) % 2 == 0:
            victim.kill_child()
        else:
            gone.append(_kill_with_supervisor(victim))
        return child

    for _ in range(times):
        series.harm(kill)
    return {
        **series.end(),
        "child gone after its supervisor's death after s": _rounded(gone),
    }


def kill_engines(cluster: Cluster, load: Load, times: int = 2) -> Seen:
    """Kill the engine's own process, of one worker and then of the other."""
    series = _Series(cluster, load)
    for number in range(times):
        victim = cluster.living("worker")[number % len(cluster.living("worker"))]
        ends = victim.says(_ENGINE_DEAD)
        series.harm(victim.kill_engine)
        until(lambda v=victim, n=ends: v.says(_ENGINE_DEAD) > n, "status 70")  # type: ignore[misc]
    return series.end()


class _Series:
    """Batches one after the other, so that there is always one to disturb."""

    def __init__(self, cluster: Cluster, load: Load) -> None:
        """Hand the first one in."""
        self.seconds: list[float] = []
        """After which all that the killed had ran elsewhere, for each harm."""
        self.again: list[int] = []
        """Requests that were begun for nothing, for each harm."""
        self._cluster = cluster
        self._load = load
        self._batches = [cluster.submit(load.data)]

    def harm(self, do: Callable[[], int]) -> dict[str, float]:
        """Do harm to a worker in the middle of shards, and see others take them.

        `do` returns the process that ends of it, 0 for none. It is done again where
        the worker was through with its shards by then.
        """
        found: dict[str, float] = {}
        while not found:
            before = self._until_all_work()
            began, ends = time.monotonic(), do()
            again = self._cluster.to_do_again(before)
            found = self._cluster.until_taken_over(before, began)
            if not found:
                until(partial(_is_gone, ends), "the end of the harmed")
        self.seconds.append(max(found.values()))
        self.again.append(sum(again[name] for name in found))
        return found

    def end(self) -> Seen:
        """Wait for all, and check them."""
        accounts = [self._cluster.wait(batch_id) for batch_id in self._batches]
        for account in accounts:
            self._load.check(account)
        return {
            "running again after s": _rounded(self.seconds),
            "begun for nothing": self.again,
            "results stored twice": sum(account.stored_twice for account in accounts),
            "batches": len(accounts),
        }

    def marks(self) -> int:
        """Return how many attempts were begun and never ended."""
        ledger = self._cluster.ledger
        tops = [f"{ledger.keys.batch(one).top}/shards/" for one in self._batches]
        keys = [entry.key for top in tops for entry in ledger.storage.list(top)]
        return sum("/attempts/" in key for key in keys)

    def _until_all_work(self) -> dict[str, str]:
        """Wait until two workers are at a batch of which much is still to be done."""
        self._cluster.staff()

        def look() -> dict[str, str]:
            state = self._cluster.state(self._batches[-1])
            if state.plan and len(state.pending()) < _ENOUGH:
                self._batches.append(self._cluster.submit(self._load.data))
            has_shard_results = self._cluster.has_stored(self._batches[-1])
            leases = self._cluster.leases()
            return leases if has_shard_results and len({*leases.values()}) > 1 else {}

        return until(look, "two workers with leases")


def _kill_with_supervisor(victim: Process) -> float:
    """Kill a supervisor; return the seconds that its worker took to end."""
    child, began = victim.child, time.monotonic()
    victim.kill()
    until(partial(_is_gone, child), "the child's end")
    return time.monotonic() - began


def terminate(cluster: Cluster, load: Load) -> Seen:
    """Send SIGTERM to a worker, and to one that is still loading its engine."""
    series = _Series(cluster, load)
    ended: list[tuple[int, float]] = []

    def end() -> int:
        victim = cluster.living("worker")[-1]
        victim.terminate()
        ended.append(victim.end(_LONG))
        return 0

    series.harm(end)
    late = cluster.worker()
    until(lambda: late.says("loading"), "loading")
    late.terminate()
    late_code, late_seconds = late.end(_LONG)
    return {
        "exit": ended[-1][0],
        "ended after s": round(ended[-1][1], 1),
        "while loading: exit": late_code,
        "while loading: ended after s": round(late_seconds, 1),
        **series.end(),
        "attempts left open": series.marks(),
    }


def lose_redis(cluster: Cluster, load: Load, away: float = 30) -> Seen:
    """Empty Redis, twice; stop it for a while, and start it empty."""
    with cluster.unfinished(load.data) as batch_id:
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
        until(cluster.leases, "leases after Redis came back")
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
        shards = len(account.state.require_plan().shards)
        until(lambda: double.messages >= shards, "each message twice")
    load.check(account)
    return {
        "messages doubled": double.messages,
        "results stored twice": account.stored_twice,
    }


def storm(cluster: Cluster, load: Load, seconds: float = 60) -> Seen:
    """Have the bucket refuse, cut, delay and tear what it is asked."""
    with cluster.unfinished(load.data) as batch_id:
        cluster.until_committed(batch_id, 1)
        before = len(cluster.state(batch_id).commits)
        cluster.proxy.close_idle()
        cluster.proxy.storms = True
        until(lambda: {*cluster.proxy.suffered} == {*STORM}, "all kinds of weather")
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
        assert proxy.held.wait(_LONG)
        for controller in living:
            controller.kill()
        proxy.let_go()
        if written:
            proxy.hold(written)
        began = time.monotonic()
        living = [cluster.controller(), cluster.controller()]
        if len(seconds) == 0:
            until(lambda: cluster.state(batch_id).plan, "a plan")
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


def cancel(cluster: Cluster, load: Load) -> Seen:
    """Cancel a batch in the middle."""
    batch_id = cluster.submit(load.data)
    until(lambda: cluster.has_stored(batch_id), "an answer that is stored")
    began = time.monotonic()
    cluster.run("cancel", batch_id)
    account = cluster.wait(batch_id)
    seconds = time.monotonic() - began
    load.check(account, "cancelled")
    assert set(account.codes) == {"batch_cancelled"}
    return {
        "cancelled: kept, not run": [len(account.output), len(account.errors)],
        "cancelled: ended after s": round(seconds, 1),
    }


def expire(cluster: Cluster, load: Load) -> Seen:
    """Have a batch's day end in its middle: a controller comes whose clock says so."""
    batch_id = cluster.submit(load.data)
    until(lambda: cluster.has_stored(batch_id), "an answer that is stored")
    for controller in cluster.living("controller"):
        controller.terminate()
        controller.end(_LONG)
    began = time.monotonic()
    ahead = cluster.controller(PYTHONPATH=_CLOCK, SECONDS_OFF=f"{_DAY}")
    account = cluster.wait(batch_id)
    seconds = time.monotonic() - began
    ahead.terminate()
    ahead.end(_LONG)
    load.check(account, "expired")
    assert set(account.codes) == {"batch_expired"}
    return {
        "expired: kept, not run": [len(account.output), len(account.errors)],
        "expired: ended after s, a controller's start included": round(seconds, 1),
    }


def cancel_and_expire(cluster: Cluster, load: Load) -> Seen:
    """Cancel a batch in the middle, and let another one expire there."""
    seen = cancel(cluster, load)
    return seen | expire(cluster, load)


def bend_time(cluster: Cluster, load: Load) -> Seen:
    """Have one worker an hour ahead, one behind, and freeze the latter for a while."""
    for worker in cluster.living("worker"):
        worker.terminate()
        worker.end(_LONG)
    off = [
        cluster.worker(PYTHONPATH=_CLOCK, SECONDS_OFF=f"{hours * _HOUR}")
        for hours in (1, -1)
    ]
    for worker in off:
        cluster.until_ready(worker)
    series = _Series(cluster, load)
    frozen: list[int] = []

    def freeze() -> int:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        frozen[:] = [off[1].freeze()]
        return 0

    found = series.harm(freeze)
    until(lambda: _are_committed(cluster, found), "commits of what was frozen")
    os.kill(frozen[0], signal.SIGCONT)
    thawed = time.monotonic()
    until(lambda: off[1].says("asleep for"), "the thawed worker's word")
    noticed = time.monotonic() - thawed
    seen = series.end()
    for worker in off:
        worker.terminate()
        worker.end(_LONG)
    return {"thawed: noticed after s": round(noticed, 1), **seen}


def fill_storage(cluster: Cluster, load: Load, seconds: float = 90) -> Seen:
    """Have the bucket refuse all that is written, as if it were full; then free it."""
    said = _said(cluster)
    with cluster.unfinished(load.data) as batch_id:
        cluster.until_committed(batch_id, 1)
        with cluster.proxy.refusing(""):
            until(lambda: _said(cluster) > said, "a word about the storage")
            time.sleep(seconds)
            said = _said(cluster) - said
    account = cluster.wait(batch_id)
    load.check(account)
    return {
        "lines on the workers' screens meanwhile": said,
        "results stored twice": account.stored_twice,
    }


def deliver_elsewhere(cluster: Cluster, load: Load) -> Seen:
    """Have results delivered; kill the controllers that write them, close the place."""
    place = f"{EXPORTS}/{cluster.prefix}"
    cluster.proxy.hold("_output.jsonl")
    batch_id = cluster.submit(load.data, "--output", place, "--format", "both")
    assert cluster.proxy.held.wait(_LONG)
    for controller in cluster.living("controller"):
        controller.kill()
    assert cluster.state(batch_id).is_terminal
    with cluster.proxy.refusing("/exports/"):
        cluster.proxy.let_go()
        began = time.monotonic()
        for _ in range(2):
            cluster.controller()
        until(
            lambda: cluster.state(batch_id).delivery_attempt, "a try that was refused"
        )
        refused = time.monotonic() - began
    account = cluster.wait(batch_id)
    load.check(account)
    delivered = account.state.delivery_receipt
    names = [f"{place}/{batch_id}_output.{ending}" for ending in ("jsonl", "parquet")]
    assert delivered is not None
    assert delivered.files == names
    output, table = map(cluster.read, names)
    assert [json.loads(line) for line in output.splitlines()] == account.output
    assert parquet.read_table(BytesIO(table)).num_rows == load.requests
    return {
        "killed while writing": "the output at its destination",
        "tried by another after s": round(refused, 1),
        "delivered": [len(output), len(table)],
        "results stored twice": account.stored_twice,
    }


def _said(cluster: Cluster) -> int:
    return sum(worker.says("storage") for worker in cluster.living("worker"))


def _starts(cluster: Cluster) -> int:
    return sum(worker.says("ready for shards") for worker in cluster.living("worker"))


def _are_committed(cluster: Cluster, names: dict[str, float]) -> bool:
    messages = [WorkMessage(*name.split("/")) for name in names]
    commits = {batch: cluster.state(batch).commits for _, batch, _ in messages}
    return all(message.shard in commits[message.batch_id] for message in messages)


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


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
    12: ("controllers killed while they deliver", deliver_elsewhere),
}
