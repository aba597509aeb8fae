"""Measure whether memory stays constant in every process of a cluster.

    python -m benchmarks.cluster_memory --requests 1000000

One batch runs through Redis, a controller and workers under their supervisors, with an
engine that computes nothing. The resident memory of each process (MiB) is read every
second; a row shows its mean over each tenth of the time.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.storage import LocalStorage
from batchchat.workers.cluster_status import ClusterStatus
from benchmarks.control_path import PROGRAM, cluster, write_requests
from benchmarks.report import report
from tests.acceptance.processes import living
from tests.support.servers.redis_server import RedisServer, redis_server

_PARTS = 10
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK = 1.0


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * _PAGE / 2**20


def named(redis: RedisServer, roots: list[int]) -> dict[str, int]:
    """Return the processes to measure: the controller, supervisors and workers."""
    assert redis.process is not None
    names = ["controller", *(f"worker {number}" for number in range(1, len(roots)))]
    found = {"redis": redis.process.pid}
    for name, pid in zip(names, roots, strict=True):
        found[f"supervisor of the {name}"] = pid
        found[name] = next(one.pid for one in living() if one.parent == pid)
    return found


def watch(
    ledger: Ledger, batch_id: str, pids: dict[str, int]
) -> dict[str, list[float]]:
    """Sample the processes until the batch has ended."""
    seen: dict[str, list[float]] = defaultdict(list)
    while ledger.outcome(batch_id) is None:
        for name, pid in pids.items():
            seen[name].append(resident(pid))
        time.sleep(_LOOK)
    return seen


def by_tenths(looks: list[float]) -> dict[str, float]:
    """Return the mean of each tenth of the samples."""
    ends = [len(looks) * part // _PARTS for part in range(_PARTS + 1)]
    return {
        f"{100 * part // _PARTS} %": round(
            statistics.fmean(looks[ends[part - 1] : ends[part]] or looks[-1:]), 1
        )
        for part in range(1, _PARTS + 1)
    }


def run(requests: int, workers: int) -> list[dict[str, Any]]:
    """Run one batch; return a row for each process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_requests(folder / "in.jsonl", requests, 1)
        with redis_server(folder) as redis:
            environment = os.environ | {
                "BATCHCHAT_BROKER": redis.url,
                "BATCHCHAT_STORAGE": f"file://{folder}/store",
            }
            with cluster(environment, workers, 1e6, restart=True) as processes:
                while len(ClusterStatus(redis.url).workers()) <= workers:
                    time.sleep(0.2)
                pids = named(redis, [process.pid for process in processes])
                began = time.perf_counter()
                submit = [
                    "submit",
                    str(folder / "in.jsonl"),
                    "--model",
                    "demo",
                    "--no-wait",
                ]
                done = subprocess.run(
                    [*PROGRAM, *submit],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                ledger = Ledger(LocalStorage(folder / "store"), "default")
                batch_id = done.stdout.strip()
                seen = watch(ledger, batch_id, pids)
                took = time.perf_counter() - began
                outcome = ledger.outcome(batch_id)
        assert outcome is not None
        assert outcome.counts.completed == requests
    print(f"{requests:,} requests in {took:.0f} s, {requests / took:,.0f} a second\n")
    return [
        {"process": name, **by_tenths(looks), "most": max(looks)}
        for name, looks in seen.items()
    ]


def main() -> None:
    """Run one batch and report it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    report("cluster_memory", run(options.requests, options.workers))


if __name__ == "__main__":
    main()
