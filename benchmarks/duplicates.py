"""Measure what computing identical requests once saves.

    python -m benchmarks.duplicates --runs 3

Three requests in ten repeat an earlier one word for word. Greedy requests and those
with equal seeds share an answer; those sampled without a seed are all computed.
"""

import argparse
import random
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.one_engine import OneEngine, in_turn, input_line
from benchmarks.report import report

REPEATED = 0.3


def requests(count: int, **body: Any) -> bytes:
    """Return requests, some of which are duplicates."""
    source = random.Random(9)
    asked: list[str] = []
    lines = []
    for index in range(count):
        again = asked and source.random() < REPEATED
        text = source.choice(asked) if again else f"What is number {index}?"
        if not again:
            asked.append(text)
        messages = [{"role": "user", "content": text}]
        lines.append(input_line(f"q-{index}", messages, max_tokens=32, **body))
    return b"".join(lines)


def main() -> None:
    """Run each kind with and without deduplication and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    kinds: dict[str, dict[str, Any]] = {
        "greedy": {"temperature": 0},
        "equal seeds": {"seed": 7},
        "sampled without a seed": {},
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, OneEngine(Path(folder)) as engine:
        counter = Counter(engine)
        for kind, body in kinds.items():
            data = requests(options.requests, ignore_eos=True, **body)
            run = partial(counter.run, data)
            if not rows:
                run(deduplicate_requests=False)  # warm-up
            found = in_turn(
                options.runs,
                once=partial(run, deduplicate_requests=True),
                each=partial(run, deduplicate_requests=False),
            )
            base = statistics.median(run.seconds for run in found["each"])
            for name, runs in found.items():
                seconds = statistics.median(run.seconds for run in runs)
                rows.append(
                    {
                        "requests": kind,
                        "duplicates are computed": name,
                        "seconds": round(seconds, 2),
                        "computed": counter.computed[data, name == "once"],
                        "throughput": round(base / seconds, 2),
                        "texts that differ": sum(
                            runs[0].texts[key] != text
                            for key, text in found["each"][0].texts.items()
                        ),
                    }
                )
    report("duplicates", rows)


class Counter:
    """Counts the requests that the engine receives in each kind of run."""

    def __init__(self, engine: OneEngine) -> None:
        """Count the requests that `engine` receives."""
        self.computed: dict[tuple[bytes, bool], int] = {}
        self._engine = engine
        self._given = 0
        self._add = engine.core.add
        engine.core.add = self._count

    def _count(self, work: Any) -> None:
        self._given += 1
        self._add(work)

    def run(self, data: bytes, *, deduplicate_requests: bool) -> Any:
        """Run a file and record how many requests were computed."""
        self._given = 0
        done = self._engine.run(data, deduplicate_requests=deduplicate_requests)
        self.computed[data, deduplicate_requests] = self._given
        return done


if __name__ == "__main__":
    main()
