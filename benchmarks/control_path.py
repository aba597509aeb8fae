"""Measure what everything around the engine costs per request, on a cluster.

    python -m benchmarks.control_path --workers 1 2 16
    python -m benchmarks.control_path --workers 2 --shard-requests 1000 50

Redis, a controller and N worker processes run on this machine, with an engine that
computes nothing. A request is queued, leased, read, parsed, rendered, tokenized,
answered, checkpointed, committed and finalized. The overhead is the CPU time of all
processes divided by the number of requests, without their start. With two shard sizes,
the difference divided by the number of additional shards is the cost of a shard.

With `--tokens-per-second` the engine takes time but no CPU, as a GPU does, and the
efficiency is the throughput of N workers over N times that of one. With `--per-worker`
the number of requests is per worker.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.storage import LocalStorage
from batchchat.workers.cluster_status import ClusterStatus
from benchmarks.report import report
from tests.support.servers.redis_server import redis_server

PROGRAM = [sys.executable, "-m", "batchchat"]
_TICK = os.sysconf("SC_CLK_TCK")


def write_requests(path: Path, requests: int, tokens: int) -> None:
    """Write short chats."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(requests):
            messages = [{"role": "user", "content": f"say the number {index}"}]
            body = {"messages": messages, "max_tokens": tokens}
            file.write(json.dumps({"custom_id": f"r-{index}", **body}) + "\n")


@contextmanager
def cluster(
    environment: dict[str, str], workers: int, speed: float, *, restart: bool = False
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run a controller and workers, with supervisors if `restart` is set."""
    simulated = {"BATCHCHAT_SIMULATED_TOKENS_PER_SECOND": str(speed)}
    worker = ["worker", "--model", "demo"]
    if not restart:
        worker.append("--no-restart")
    commands = [["controller"], *[worker] * workers]
    processes = [
        subprocess.Popen(
            [*PROGRAM, *command], env=environment | simulated, stderr=subprocess.DEVNULL
        )
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def seconds_of(processes: list[subprocess.Popen[bytes]]) -> float:
    """Return the CPU seconds that the processes have used."""
    total = 0
    for process in processes:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        total += int(user) + int(system)
    return total / _TICK


def run(
    requests: int, workers: int, shard: int, speed: float, tokens: int
) -> dict[str, Any]:
    """Run one batch on a fresh cluster and return its row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_requests(folder / "in.jsonl", requests, tokens)
        with redis_server(folder) as redis:
            environment = os.environ | {
                "BATCHCHAT_BROKER": redis.url,
                "BATCHCHAT_STORAGE": f"file://{folder}/store",
                "BATCHCHAT_SHARD_REQUESTS": str(shard),
            }
            with cluster(environment, workers, speed) as processes:
                took = _measure(folder, redis.url, environment, processes, requests)
    return {"workers": workers, "a shard": shard, "requests": requests, **took}


def _measure(
    folder: Path,
    broker: str,
    environment: dict[str, str],
    processes: list[subprocess.Popen[bytes]],
    requests: int,
) -> dict[str, Any]:
    while len(ClusterStatus(broker).workers()) < len(processes):
        time.sleep(0.2)
    time.sleep(1)
    before, began = seconds_of(processes), time.perf_counter()
    submit = ["submit", str(folder / "in.jsonl"), "--model", "demo", "--no-wait"]
    done = subprocess.run(
        [*PROGRAM, *submit], env=environment, check=True, capture_output=True
    )
    batch_id = done.stdout.decode().strip()
    ledger = Ledger(LocalStorage(folder / "store"), "default")
    while (outcome := ledger.outcome(batch_id)) is None:
        time.sleep(0.02)
    took, used = time.perf_counter() - began, seconds_of(processes) - before
    assert outcome.counts.completed == requests
    return {
        "seconds": round(took, 2),
        "requests per second": round(requests / took),
        "cpu ms per request": round(used / requests * 1000, 3),
    }


def main() -> None:
    """Measure each number of workers, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--per-worker", action="store_true")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 16])
    parser.add_argument("--shard-requests", type=int, nargs="+", default=[500])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--tokens-per-second", type=float, default=1e6)
    parser.add_argument("--max-tokens", type=int, default=1)
    options = parser.parse_args()
    rows = [
        run(
            options.requests * (workers if options.per_worker else 1),
            workers,
            shard,
            options.tokens_per_second,
            options.max_tokens,
        )
        for _ in range(options.runs)
        for workers in options.workers
        for shard in options.shard_requests
    ]
    alone = max(
        (r["requests per second"] for r in rows if r["workers"] == 1), default=0
    )
    for row in rows:
        if alone:
            share = row["requests per second"] / (row["workers"] * alone)
            row["efficiency"] = round(share, 2)
    report("control_path", rows)


if __name__ == "__main__":
    main()
