"""Measure what grouping requests by common prefix saves.

    python -m benchmarks.prefixes --runs 3

Forty long system messages are shuffled over the file, and the KV cache has room for
some of them. The same engine runs the file in batchchat's order and in the file's
order, in turn.
"""

import argparse
import random
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.one_engine import OneEngine, Run, in_turn, input_line
from benchmarks.report import report

PREFIXES = 40
WORDS = ("answer", "briefly", "always", "name", "rivers", "lakes", "and", "towns")
BLOCKS = 200
"""Of 128 tokens: a prefix takes eight, so about half of them fit beside what runs."""


def shuffled(requests: int) -> bytes:
    """Return requests of about 1,100 tokens with one of the forty prefixes."""
    source = random.Random(5)
    prefixes = [
        f"You are number {number}. " + " ".join(source.choices(WORDS, k=460))
        for number in range(PREFIXES)
    ]
    return b"".join(
        input_line(
            f"q-{index}",
            [
                {"role": "system", "content": source.choice(prefixes)},
                {"role": "user", "content": f"What of {index}?"},
            ],
            max_tokens=8,
            ignore_eos=True,
        )
        for index in range(requests)
    )


def _in_file_order(parsed: Iterable[Any], **_: Any) -> Iterable[Any]:
    return parsed


def main() -> None:
    """Run both in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    data = shuffled(options.requests)
    room: dict[str, Any] = {"max_num_seqs": 16, "num_gpu_blocks_override": BLOCKS}
    with (
        tempfile.TemporaryDirectory() as folder,
        OneEngine(Path(folder), **room) as engine,
    ):

        def in_file_order() -> Run:
            with patch(
                "batchchat.jobs.execution.attempt.order_requests", _in_file_order
            ):
                return engine.run(data)

        engine.run(data[: data.index(b"\n") + 1])  # the first run is a warm-up
        found = in_turn(
            options.runs, grouped=lambda: engine.run(data), file=in_file_order
        )
    base = statistics.median(run.seconds for run in found["file"])
    texts = found["file"][0].texts
    rows = []
    for name, runs in found.items():
        seconds = statistics.median(run.seconds for run in runs)
        usage = runs[0].usage
        rows.append(
            {
                "order": name,
                "seconds": round(seconds, 2),
                "all runs": " ".join(f"{run.seconds:.1f}" for run in runs),
                "cpu s": round(statistics.median(run.cpu for run in runs), 1),
                "prompt tokens": usage.input_tokens,
                "hit rate %": round(100 * usage.cached_tokens / usage.input_tokens, 1),
                "throughput": round(base / seconds, 2),
                "texts that differ": sum(
                    runs[0].texts[key] != text for key, text in texts.items()
                ),
            }
        )
    report("prefixes", rows)


if __name__ == "__main__":
    main()
