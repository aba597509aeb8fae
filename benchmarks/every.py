"""Runs each benchmark once, small: do they all still work, and what do they print?

    python benchmarks/every.py

The sizes are for minutes, not for figures to be quoted: see README.md for those.
"""

import subprocess
import sys
from pathlib import Path

SMALL = {
    "planning": "--requests 50000 --runs 1",
    "finalizing": "--requests 20000 --runs 1",
    "prompts": "--requests 500 --rounds 3",
    "commands": "--runs 3",
    "control_path": "--requests 2000 --workers 1 2 --runs 1",
    "cluster_memory": "--requests 2000",
    "sweeps": "--shards 400",
    "serving": "--upload-mb 64 --polls 100 --creates 20",
    "throughput": "--requests 300 --runs 1",
    "where_time_goes": "--requests 500",
    "first_result": "--requests 100 1000 --runs 1",
    "levers": "--requests 200 --runs 1 --levers ours compiled",
    "prefixes": "--requests 200 --runs 1",
    "duplicates": "--requests 300 --runs 1",
    "two_turns": "--requests 200 --runs 1",
    "plot_throughput": "--requests 400",
    "kill_and_resume": "--requests 1000 --kills 1",
}


def main() -> None:
    """Run them one after the other; the exit status says whether all worked."""
    folder = Path(__file__).parent
    failed = []
    for name, options in SMALL.items():
        print(f"\n## {name} {options}\n", flush=True)
        command = [sys.executable, str(folder / f"{name}.py"), *options.split()]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
