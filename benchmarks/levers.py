"""Measure which of vLLM's options pay on this machine, changing one at a time.

    python -m benchmarks.levers --runs 3
    python -m benchmarks.levers --runs 3 --levers defaults compiled "64 at once"

Each option runs in a process of its own, in turn, with the same requests and seeds and
answers of 32 tokens. Loading the model is shown separately, because some options cost
loading time. Options that need a library that is not on this machine are left out.
"""

import argparse
import ctypes.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.one_engine import OneEngine, input_line
from benchmarks.report import report

MARK = "RESULT "
TOKENS = 32


@dataclass(frozen=True, kw_only=True)
class Lever:
    """A difference from how batchchat starts the engine."""

    arguments: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    apart: bool | None = None
    switch_seconds: float | None = None


def levers() -> dict[str, Lever]:
    """Return the options whose libraries are on this machine, by name."""
    found = {
        "defaults": Lever(),
        "core apart": Lever(apart=True),
        "compiled": Lever(arguments={"enforce_eager": False}),
        "64 at once": Lever(arguments={"max_num_seqs": 64}),
        "128 at once": Lever(arguments={"max_num_seqs": 128}),
        "512 at once": Lever(arguments={"max_num_seqs": 512}),
        "1,024 at once": Lever(arguments={"max_num_seqs": 1024}),
        "2,048 tokens a step": Lever(arguments={"max_num_batched_tokens": 2048}),
        "16,384 tokens a step": Lever(arguments={"max_num_batched_tokens": 16384}),
        "blocks of 32 tokens": Lever(arguments={"block_size": 32}),
        "no prefix cache": Lever(arguments={"enable_prefix_caching": False}),
        "threads not bound": Lever(environment={"VLLM_CPU_OMP_THREADS_BIND": "nobind"}),
        "threads spin for long": Lever(environment={"GOMP_SPINCOUNT": "300000000"}),
        "threads sleep at once": Lever(environment={"OMP_WAIT_POLICY": "PASSIVE"}),
        "one thread": Lever(environment={"OMP_NUM_THREADS": "1"}),
        "interpreter switches each 5 ms": Lever(switch_seconds=0.005),
        "interpreter switches each 0.2 ms": Lever(switch_seconds=0.0002),
    }
    arena = {"MALLOC_ARENA_MAX": "1"}
    kept = {
        "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),
        "MALLOC_TRIM_THRESHOLD_": str(512 * 1024 * 1024),
    }
    found["one arena of memory"] = Lever(environment=arena)
    found["memory is kept"] = Lever(environment=kept)
    found["one arena, memory is kept"] = Lever(environment=arena | kept)
    openmp, malloc = _intel_openmp(), _tcmalloc()
    if openmp:
        found["Intel's OpenMP"] = Lever(environment={"LD_PRELOAD": openmp})
    if malloc:
        found["tcmalloc"] = Lever(environment={"LD_PRELOAD": malloc})
    if openmp and malloc:
        both = {"LD_PRELOAD": f"{malloc}:{openmp}"}
        found["tcmalloc, Intel's OpenMP"] = Lever(environment=both)
        found["compiled, tcmalloc, Intel's OpenMP"] = Lever(
            arguments={"enforce_eager": False}, environment=both
        )
    return found


def _intel_openmp() -> str | None:
    path = Path(sys.prefix) / "lib" / "libiomp5.so"
    return str(path) if path.exists() else None


def _tcmalloc() -> str | None:
    return ctypes.util.find_library("tcmalloc_minimal")


def lines(requests: int) -> Iterator[bytes]:
    """Yield the input file."""
    for index in range(requests):
        yield input_line(
            f"q-{index}",
            [{"role": "user", "content": f"Tell me about {index}."}],
            max_tokens=TOKENS,
            ignore_eos=True,
            seed=index,
        )


def measure(lever: Lever, requests: int, models: Path) -> dict[str, Any]:
    """Load the model and run the batch in this process."""
    began = perf_counter()
    with OneEngine(models, apart=bool(lever.apart), **lever.arguments) as bench:
        load = perf_counter() - began
        if lever.switch_seconds:
            sys.setswitchinterval(lever.switch_seconds)
        run = bench.run(b"".join(lines(requests)))
    return {
        "load": load,
        "seconds": run.seconds,
        "steps": run.steps,
        "texts": list(run.texts.values()),
    }


def main() -> None:
    """Run each option in turn and print a table."""
    known = levers()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--levers", nargs="+", default=list(known), choices=known)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, models = options.one
        measured = measure(known[name], options.requests, Path(models))
        print(MARK + json.dumps(measured), flush=True)
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.levers}
    with tempfile.TemporaryDirectory() as models:
        for number in range(options.runs):
            for name in options.levers[:: -1 if number % 2 else 1]:
                one = _in_a_process(name, known[name], options.requests, models)
                found[name].append(one)
                print(f"{name:<36} {one['seconds']:6.2f} s", file=sys.stderr)
    base = found.get("defaults")
    report("levers", [_row(name, runs, base) for name, runs in found.items()])


def _in_a_process(
    name: str, lever: Lever, requests: int, models: str
) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.levers", "--requests", str(requests)]
    done = subprocess.run(
        [*command, "--one", name, models],
        env=os.environ | lever.environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))
    result: dict[str, Any] = json.loads(line.removeprefix(MARK))
    return result


def _row(
    name: str, runs: list[dict[str, Any]], base: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Return an option's row, with its throughput relative to the defaults."""
    seconds = statistics.median(run["seconds"] for run in runs)
    row = {
        "lever": name,
        "load s": round(statistics.median(run["load"] for run in runs), 1),
        "seconds": round(seconds, 2),
        "all runs": " ".join(f"{run['seconds']:.2f}" for run in runs),
        "engine steps": runs[0]["steps"],
    }
    if base:
        default = statistics.median(run["seconds"] for run in base)
        pairs = zip(runs[0]["texts"], base[0]["texts"], strict=True)
        row["of defaults"] = round(default / seconds, 3)
        row["texts that differ"] = sum(one != other for one, other in pairs)
    return row


if __name__ == "__main__":
    main()
