"""Run each benchmark once with a small input, to see that all of them still work.

    python -m benchmarks.every

The sizes take minutes; for figures to quote, see README.md.
"""

import subprocess
import sys

SMALL = {
    "planning": "--requests 50000 --runs 1",
    "rows": "--rows 20000",
    "finalizing": "--requests 20000 --runs 1",
    "reuse": "--requests 20000",
    "prompts": "--requests 500 --rounds 3",
    "commands": "--runs 3",
    "control_path": "--requests 2000 --workers 1 2 --runs 1",
    "cluster_memory": "--requests 2000",
    "tenant_memory": "--batches 1 --requests 101",
    "sweeps": "--shards 400",
    "small_batches": "--milliseconds 4",
    "serving": "--upload-mb 64 --polls 100 --creates 20",
    "throughput": "--requests 300 --runs 1",
    "gpu_speed": "--speed 1b --requests 300",
    "where_time_goes": "--requests 500",
    "first_result": "--requests 100 1000 --runs 1",
    "levers": "--requests 200 --runs 1 --levers defaults compiled",
    "prefixes": "--requests 200 --runs 1",
    "duplicates": "--requests 300 --runs 1",
    "two_turns": "--requests 200 --runs 1",
    "plot_throughput": "--requests 400",
    "kill_and_resume": "--requests 1000 --kills 1",
}


def main() -> None:
    """Run them in turn; exit with 1 if one fails."""
    failed = []
    for name, options in SMALL.items():
        print(f"\n## {name} {options}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options.split()]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
