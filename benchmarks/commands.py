"""Measure the latency of the interactive commands.

    python -m benchmarks.commands

Each runs several times in a process of its own; the median and the fastest run count.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import report


def write_requests(path: Path) -> None:
    """Write 1,000 chats of about 1 KB."""
    with path.open("w", encoding="utf-8") as file:
        for index in range(1_000):
            messages = [{"role": "user", "content": f"question {index} " * 60}]
            file.write(json.dumps({"messages": messages, "max_tokens": 64}) + "\n")


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Return how many seconds a command takes."""
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure the commands in turn, several times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.jsonl"
        write_requests(file)
        environment = os.environ | {
            "BATCHCHAT_STORAGE": f"file://{folder}/store",
            "PYTHONPYCACHEPREFIX": f"{folder}/compiled",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        asked = {
            "batchchat --help": ["--help"],
            "validate, 1,000 lines": ["validate", str(file), "--model", "demo"],
            "estimate, 1,000 lines": ["estimate", str(file), "--model", "demo"],
            "list": ["list"],
        }
        program = [sys.executable, "-m", "batchchat"]
        times: dict[str, list[float]] = {name: [] for name in asked}
        for number in range(options.runs + 1):
            for name, arguments in asked.items():
                took = seconds([*program, *arguments], environment)
                if number:  # the first one compiles the modules
                    times[name].append(took)
    rows = [
        {
            "command": name,
            "median seconds": round(statistics.median(each), 3),
            "fastest": round(min(each), 3),
        }
        for name, each in times.items()
    ]
    report("commands", rows)


if __name__ == "__main__":
    main()
