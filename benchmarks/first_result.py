"""Measure the time to the first result, with the engine loaded.

    python -m benchmarks.first_result --requests 100 2000 20000

The time includes storing and validating the whole file, planning, rendering, and the
engine's steps for an answer of eight tokens.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.one_engine import OneEngine, input_line
from benchmarks.report import report


def short(requests: int) -> bytes:
    """Return requests for short answers."""
    return b"".join(
        input_line(
            f"q-{index}",
            [{"role": "user", "content": f"Tell me about {index}."}],
            max_tokens=8,
            ignore_eos=True,
        )
        for index in range(requests)
    )


def main() -> None:
    """Measure each size a few times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, nargs="+", default=[100, 2_000, 20_000])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder, OneEngine(Path(folder)) as engine:
        engine.run(short(100))  # warm-up
        for requests in options.requests:
            data = short(requests)
            runs = [engine.run(data) for _ in range(options.runs)]
            firsts = [run.results[0] for run in runs]
            rows.append(
                {
                    "requests": requests,
                    "first result after s": round(statistics.median(firsts), 2),
                    "all runs": " ".join(f"{first:.2f}" for first in firsts),
                    "last after s": round(
                        statistics.median(run.seconds for run in runs), 2
                    ),
                }
            )
    report("first_result", rows)


if __name__ == "__main__":
    main()
