"""Measure how long a GPU waits for the Python around it, without a GPU.

    python -m benchmarks.gpu_speed --speed 8b --requests 8000
    python -m benchmarks.gpu_speed --speed 1b --lengths long-tail --requests 4000

vLLM runs with an executor that only takes a GPU's time (`gpu_executor.py`), so that
the machine's CPU is spent on all the rest, as on a machine with a GPU. The variants
are those of `throughput.py`, each in a process of its own, in turn. "busy" is the time
of all steps; the rest of the engine's time is what the GPU waits.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu_executor import (
    KV_TOKENS_VARIABLE,
    SPEED_VARIABLE,
    SPEEDS,
    TIMES,
    TIMES_VARIABLE,
)
from benchmarks.report import report
from benchmarks.throughput import (
    MARK,
    long_tail,
    request_line,
    run_batchchat,
    run_chat,
)

Measured = dict[str, Any]

VARIANTS = ("batchchat", "chat")
_CATALOG_NAME = "catalog.toml"
_CATALOG = """
[models.demo.engine]
dtype = "float32"
enable_chunked_prefill = true
distributed_executor_backend = "benchmarks.gpu_executor.GpuSpeedExecutor"
max_num_seqs = 1024
max_num_batched_tokens = 8192
"""
_KV_TOKENS = 1024 * 1024
_WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "with", "be")


def write_requests(path: Path, requests: int, lengths: str) -> None:
    """Write requests with prompts of about 200 tokens."""
    source = random.Random(7)
    with path.open("w", encoding="utf-8") as file:
        for index in range(requests):
            words = " ".join(source.choices(_WORDS, k=150))
            tokens = 32 if lengths == "short" else long_tail(source)
            file.write(request_line(index, f"{index}: {words}", tokens))


def main() -> None:
    """Run the variants in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--speed", choices=SPEEDS, default="8b")
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--lengths", choices=["short", "long-tail"], default="short")
    parser.add_argument("--shard", type=int, default=1_000)
    parser.add_argument("--kv-tokens", type=int, default=_KV_TOKENS)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        variant, path, models, shard = options.one
        print(MARK + json.dumps(measure(variant, Path(path), Path(models), int(shard))))
        sys.stdout.flush()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_requests(folder / "requests.jsonl", options.requests, options.lengths)
        (folder / _CATALOG_NAME).write_text(_CATALOG)
        os.environ |= {
            "PYTHONPATH": str(Path.cwd()),  # for the core: its executor
            SPEED_VARIABLE: options.speed,
            KV_TOKENS_VARIABLE: str(options.kv_tokens),
        }
        runs: dict[str, list[Measured]] = {name: [] for name in options.variants}
        for number in range(options.runs):
            for variant in options.variants[:: -1 if number % 2 else 1]:
                runs[variant].append(_in_a_process(variant, folder, options.shard))
    rows = [_row(name, each, runs.get("chat")) for name, each in runs.items()]
    report(f"gpu_speed-{options.speed}-{options.lengths}", rows)


def measure(variant: str, path: Path, models: Path, shard: int) -> Measured:
    """Run one variant in this process."""
    config = path.with_name(_CATALOG_NAME)
    if variant == "batchchat":
        return run_batchchat(path, models, shard, config=config, apart=True)
    return run_chat(path, models, None, config=config, apart=True)


def _in_a_process(variant: str, folder: Path, shard: int) -> Measured:
    times = folder / "times"
    times.write_bytes(TIMES.pack(0.0, 0))
    one = [variant, str(folder / "requests.jsonl"), str(folder / "models"), str(shard)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_speed", "--one", *one],
        env=os.environ | {TIMES_VARIABLE: str(times)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))
    found: Measured = json.loads(line.removeprefix(MARK))
    found["busy"], found["steps"] = TIMES.unpack(times.read_bytes())
    print(f"{variant:<16} {found['seconds']:6.2f} s", file=sys.stderr)
    return found


def _row(name: str, runs: list[Measured], limit: list[Measured] | None) -> Measured:
    """Return a variant's row; `of chat` is its throughput relative to `chat`."""
    seconds = statistics.median(run["seconds"] for run in runs)
    busy = statistics.median(run["busy"] for run in runs)
    answers = runs[0]["answers"]
    row = {
        "variant": name,
        "seconds": round(seconds, 2),
        "all runs": " ".join(f"{run['seconds']:.1f}" for run in runs),
        "busy s": round(busy, 1),
        "busy %": round(100 * busy / seconds),
        "steps": runs[0]["steps"],
        "front end cpu s": round(statistics.median(run["cpu"] for run in runs), 1),
        "requests/s": round(len(answers) / seconds),
        "failed": sum(not tokens for tokens, _ in answers),
    }
    if limit:
        base = statistics.median(run["seconds"] for run in limit)
        row["of chat"] = round(base / seconds, 3)
    return row


if __name__ == "__main__":
    main()
