"""Measure what it costs to index a batch, and to search that index for another one.

    python -m benchmarks.reuse --requests 1000000

Makes an ended batch, indexes it, and plans a second batch of the same size, of whose
requests all but one in a hundred are unchanged: with and without reuse. Each step runs
in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.finalizing import WORDS, _line, open_ledger, prepare
from benchmarks.report import report

STEPS = ("index", "plan", "plan with reuse")


def make_batches(folder: Path, requests: int) -> None:
    """Make an ended batch without an index, and two batches to be planned."""
    from batchchat.jobs.results.finalize import finalize

    ledger = open_ledger(folder)
    ended = prepare(folder, requests)
    finalize(ledger, ended, "completed")
    names = {"index": ended, "plan": _second(ledger, requests, ())}
    names["plan with reuse"] = _second(ledger, requests, (ended,))
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")


def _second(ledger: Any, requests: int, reuse: tuple[str, ...]) -> str:
    from random import Random

    from batchchat.jobs.ledger.batch_options import BatchOptions
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import create_batch

    words = Random(7).choices(WORDS, k=100_000)

    def lines() -> Iterator[bytes]:
        for index in range(requests):
            line = _line(index, words)
            yield line if index % 100 else line.replace(b"helpful", b"careful")

    file = store_file(ledger, lines(), "in.jsonl")
    options = BatchOptions(model="demo", seed=1, reuse=reuse)
    return str(create_batch(ledger, file, options).id)


def measure(folder: Path, step: str) -> None:
    """Run one step in this process and print the measurements as JSON."""
    from batchchat.jobs.catalog.catalog import load_catalog
    from batchchat.jobs.planning.planner import make_plan, plan_limits
    from batchchat.jobs.prompts.registry import RendererRegistry
    from batchchat.jobs.reuse.index_building import store_index
    from batchchat.jobs.settings import Settings

    ledger = open_ledger(folder)
    batch_id = json.loads((folder / "names.json").read_text(encoding="utf-8"))[step]
    settings = Settings()
    renderers = RendererRegistry(load_catalog(), Path(settings.model_cache))
    renderers.get_if_local("demo")
    began, used = time.perf_counter(), time.process_time()
    reused = None
    if step == "index":
        store_index(ledger, ledger.state(batch_id), renderers)
    else:
        batch = ledger.batch(batch_id)
        plan = make_plan(ledger, batch, renderers, plan_limits(settings))
        reused = plan.reuse.requests if plan.reuse else 0
    used, seconds = time.process_time() - used, time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "step": step,
        "seconds": round(seconds, 2),
        "cpu seconds": round(used, 2),
        "peak MiB": round(peak, 1),
        "reused": reused,
    }
    print(json.dumps(row))


def main() -> None:
    """Make the batches, and run each step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        measure(options.folder, options.step)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_batches(Path(folder), options.requests)
        command = [sys.executable, "-m", "benchmarks.reuse", "--folder", folder]
        rows = [
            json.loads(
                subprocess.run(
                    [*command, "--step", step], check=True, capture_output=True
                ).stdout
            )
            for step in STEPS
        ]
    report("reuse", rows)


if __name__ == "__main__":
    main()
