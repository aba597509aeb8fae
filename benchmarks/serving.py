"""Measure a server: its memory during an upload, its latency for polls and creates.

    python -m benchmarks.serving --upload-mb 2048 --polls 1000 --creates 50

Starts `batchchat serve` in a folder of its own. The upload is generated while it is
sent. All polls are in flight at once, each on a connection of its own; creates arrive
at the given rate for ten seconds. No engine is started: the inputs are rejected.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

BOUNDARY = "benchmark"
HEAD = (
    f"--{BOUNDARY}\r\n"
    'content-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    f"--{BOUNDARY}\r\n"
    'content-disposition: form-data; name="file"; filename="big.jsonl"\r\n\r\n'
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
PIECE = (b'{"messages": [{"role": "user", "content": "' + b"x" * 950 + b'"}]}\n') * 256
URL = "/v1/chat/completions"
SECONDS = 10


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """Start a server; yield its URL and its process id."""
    own = {"BATCHCHAT_STORAGE": str(folder / "storage"), "XDG_DATA_HOME": str(folder)}
    command = [str(Path(sys.executable).with_name("batchchat")), "serve", "--port", "0"]
    log = folder / "log"
    with (
        log.open("wb") as err,
        subprocess.Popen(command, env=os.environ | own, stderr=err) as process,
    ):
        try:
            while "http://" not in (text := log.read_text()):
                assert process.poll() is None, text
                time.sleep(0.05)
            yield text.split("http://")[1].split("/v1")[0], process.pid
        finally:
            process.terminate()


def memory(pid: int, what: str) -> float:
    """Return a process's memory in MiB: `VmRSS` now, `VmHWM` at its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise AssertionError(what)


async def upload(client: httpx.AsyncClient, megabytes: int) -> None:
    """Upload a file of the given size."""
    pieces = megabytes * 2**20 // len(PIECE)

    async def body() -> AsyncIterator[bytes]:
        yield HEAD
        for _ in range(pieces):
            yield PIECE
        yield TAIL

    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    answer = await client.post("/v1/files", content=body(), headers=headers)
    assert answer.json()["bytes"] == pieces * len(PIECE), answer.text


async def timed(seconds: list[float], call: Callable[[], Awaitable[Any]]) -> None:
    """Record how long a call takes, and stop if it fails."""
    before = time.perf_counter()
    answer = await call()
    seconds.append(time.perf_counter() - before)
    assert answer.is_success, answer.text


def show(name: str, seconds: list[float], took: float) -> None:
    """Print percentiles of the latencies."""
    seconds.sort()
    half, most = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    print(
        f"{name}: {len(seconds):,} in {took:.2f} s ({len(seconds) / took:,.0f}/s),"
        f" p50 {half * 1e3:.0f} ms, p99 {most * 1e3:.0f} ms, 0 errors"
    )


async def polls(client: httpx.AsyncClient, number: int, batch_id: str) -> None:
    """Poll one batch from many connections at once, twice; the second time is warm."""
    for name in ("polls, cold", "polls, warm"):
        seconds: list[float] = []
        before = time.perf_counter()
        await asyncio.gather(
            *(
                timed(seconds, lambda: client.get(f"/v1/batches/{batch_id}"))
                for _ in range(number)
            )
        )
        show(name, seconds, time.perf_counter() - before)


async def creates(client: httpx.AsyncClient, rate: int) -> str:
    """Create batches at a rate; return the last one's id."""
    files = {"file": ("bad.jsonl", b"no JSON\n")}
    made = await client.post("/v1/files", files=files, data={"purpose": "batch"})
    asked = {
        "input_file_id": made.json()["id"],
        "endpoint": URL,
        "completion_window": "24h",
    }
    first = {"x-stainless-retry-count": "0"}  # what OpenAI's clients send
    seconds: list[float] = []
    running = []
    before = time.perf_counter()
    for number in range(rate * SECONDS):
        await asyncio.sleep(max(0, before + number / rate - time.perf_counter()))
        call = timed(
            seconds, lambda: client.post("/v1/batches", json=asked, headers=first)
        )
        running.append(asyncio.create_task(call))
    await asyncio.gather(*running)
    show("creates", seconds, time.perf_counter() - before)
    listed = await client.get("/v1/batches?limit=1")
    return str(listed.json()["data"][0]["id"])


async def ask(args: argparse.Namespace, host: str, pid: int) -> None:
    """Run all measurements."""
    limits = httpx.Limits(max_connections=None)
    url = f"http://{host}"
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        print(f"memory of the server at first: {memory(pid, 'VmRSS'):.0f} MiB")
        before = time.perf_counter()
        await upload(client, args.upload_mb)
        took = time.perf_counter() - before
        print(
            f"upload of {args.upload_mb:,} MiB: {took:.1f} s,"
            f" {args.upload_mb / took:.0f} MiB/s,"
            f" memory at most {memory(pid, 'VmHWM'):.0f} MiB"
        )
        batch_id = await creates(client, args.creates)
        await polls(client, args.polls, batch_id)
        print(f"memory at most: {memory(pid, 'VmHWM'):.0f} MiB")


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upload-mb", type=int, default=2_048)
    parser.add_argument("--polls", type=int, default=1_000)
    parser.add_argument("--creates", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (host, pid):
        asyncio.run(ask(args, host, pid))


if __name__ == "__main__":
    main()
