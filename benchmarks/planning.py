"""Measure how fast a file is validated and divided into shards, and its memory.

    python -m benchmarks.planning --requests 1000000

Writes a file of chat requests of about 1 KB each, then plans it in a process of its
own, with every check. On a busy machine, CPU seconds are more reliable than wall-clock
seconds.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import report

TEXT = """
the of and to in that was his he it with is for as had you not be her on at by
which have or from this him but all she they were my are me one their so an
said them we who would been will no when there if more out up into do any
your what has man could other than our some very time upon about may its only
"""


def write_requests(path: Path, requests: int, size: int) -> None:
    """Write chat requests of about `size` bytes, with the usual parameters."""
    source = random.Random(7)
    vocabulary = TEXT.split()
    words = [source.choice(vocabulary) for _ in range(200_000)]
    with path.open("w", encoding="utf-8") as file:
        for index in range(requests):
            at = source.randrange(len(words) - 400)
            text = " ".join(words[at : at + 400])[: size - 330]
            body = {
                "model": "demo",
                "messages": [
                    {"role": "system", "content": "You are a helpful assistant."},
                    {"role": "user", "content": text},
                ],
                "max_tokens": 256,
                "temperature": 0.7,
                "seed": index,
            }
            line = {
                "custom_id": f"request-{index}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
            file.write(json.dumps(line) + "\n")


def plan(path: Path) -> None:
    """Plan the file in this process and print the measurements as JSON."""
    from batchchat.jobs.planning.planner import plan_limits
    from batchchat.jobs.planning.scanner import scan
    from batchchat.jobs.requests.parser import Parser
    from batchchat.jobs.settings import Settings

    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(4 * 1024 * 1024):
                yield chunk

    began, used = time.perf_counter(), time.process_time()
    found = scan(read, Parser("demo"), plan_limits(Settings()))
    used, seconds = time.process_time() - used, time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "requests": found.requests,
        "seconds": round(seconds, 2),
        "cpu seconds": round(used, 2),
        "lines per cpu second": round(found.requests / used),
        "MB per cpu second": round(path.stat().st_size / 1e6 / used, 1),
        "peak MiB": round(peak, 1),
    }
    print(json.dumps(row))


def main() -> None:
    """Write the input and plan it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=1_060, help="bytes of a line")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file:
        plan(options.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.jsonl"
        write_requests(path, options.requests, options.size)
        command = [sys.executable, "-m", "benchmarks.planning", "--file", str(path)]
        runs = [
            subprocess.run(command, check=True, capture_output=True).stdout
            for _ in range(options.runs)
        ]
    report("planning", [json.loads(run) for run in runs])


if __name__ == "__main__":
    main()
