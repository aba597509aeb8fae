"""Measure the memory of every process of a cluster while two projects load it.

    python -m benchmarks.tenant_memory --batches 20 --requests 500

Two projects upload their files over HTTP at the same time, each several batches at
once: most lines have 8 KB of metadata and long prompts, and every hundredth has a
prompt of 1 MB that does not fit into the context. Workers have simulated engines. The
resident memory of each process (MiB) is read five times a second.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.storage import LocalStorage
from batchchat.workers.cluster_status import ClusterStatus
from benchmarks.cluster_memory import named, resident
from benchmarks.control_path import PROGRAM, cluster
from benchmarks.report import report
from tests.support.servers.redis_server import free_port, redis_server
from tests.support.wait import wait_until

_PROJECTS = ("one", "two")
_SAMPLE_SECONDS = 0.2
_CONCURRENT_UPLOADS = 3


def write_file(path: Path, requests: int) -> None:
    """Write the input file of a batch."""
    metadata = {f"key-{number}": "v" * 500 for number in range(16)}
    with path.open("w", encoding="ascii") as file:
        for number in range(requests):
            words = "word " * (200_000 if number % 100 == 0 else 100)
            body = {
                "messages": [{"role": "user", "content": f"{number} {words}"}],
                "max_tokens": 50,
                "metadata": metadata,
            }
            request = {"method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps({"custom_id": f"q-{number}", **request}) + "\n")


def sample(pids: dict[str, int], seen: dict[str, list[float]], stopped: Event) -> None:
    """Read the memory of the processes until `stopped` is set."""
    while not stopped.wait(_SAMPLE_SECONDS):
        for name, pid in pids.items():
            seen[name].append(resident(pid))


def command(environment: dict[str, str], *arguments: str) -> str:
    """Run a command of batchchat; return what it prints."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def submit_all(environment: dict[str, str], port: int, file: Path, count: int) -> None:
    """Submit `count` batches of each project through the server."""

    def submit(project: str) -> None:
        key = keys[project]
        client = {"BATCHCHAT_URL": f"http://127.0.0.1:{port}", "BATCHCHAT_API_KEY": key}
        kept = {k: v for k, v in environment.items() if not k.startswith("BATCHCHAT_")}
        command(kept | client, "submit", str(file), "--model", "demo", "--no-wait")

    keys = {
        name: command(environment, "keys", "create", "--project", name, "--json")
        for name in _PROJECTS
    }
    keys = {name: json.loads(text)["key"] for name, text in keys.items()}
    with ThreadPoolExecutor(_CONCURRENT_UPLOADS * len(_PROJECTS)) as pool:
        list(pool.map(submit, _PROJECTS * count))


def run(batches: int, requests: int, workers: int) -> list[dict[str, Any]]:
    """Run the batches of both projects; return a row for each process."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, stopped = Path(name), Event()
        write_file(folder / "in.jsonl", requests)
        redis = stack.enter_context(redis_server(folder))
        environment = os.environ | {
            "BATCHCHAT_BROKER": redis.url,
            "BATCHCHAT_STORAGE": f"file://{folder}/store",
        }
        processes = stack.enter_context(
            cluster(environment, workers, 1e6, restart=True)
        )
        port = free_port()
        server = subprocess.Popen(
            [*PROGRAM, "serve", "--port", str(port)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        status = ClusterStatus(redis.url)
        wait_until(lambda: len(status.workers()) > workers, seconds=300)
        roots = [process.pid for process in processes]
        pids = {"API server": server.pid, **named(redis, roots)}
        seen: dict[str, list[float]] = {name: [resident(p)] for name, p in pids.items()}
        sampler = Thread(target=sample, args=(pids, seen, stopped))
        sampler.start()
        stack.callback(stopped.set)
        began = time.perf_counter()
        submit_all(environment, port, folder / "in.jsonl", batches)
        index = ActiveIndex(LocalStorage(folder / "store"))
        wait_until(lambda: not list(index.entries()), seconds=3_600)
        took = time.perf_counter() - began
        stopped.set()
        sampler.join()
    print(f"{2 * batches} batches of {requests:,} requests in {took:.0f} s\n")
    return [
        {"process": name, "idle": values[0], "most": max(values), "end": values[-1]}
        for name, values in seen.items()
    ]


def main() -> None:
    """Run the batches and report the memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, default=20, help="of each project")
    parser.add_argument("--requests", type=int, default=500, help="of each batch")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    report("tenant_memory", run(options.batches, options.requests, options.workers))


if __name__ == "__main__":
    main()
