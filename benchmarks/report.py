"""The output of every benchmark: a table to read, and a JSON file."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Print `rows` and write them with the command, machine and date.

    The file is `build/benchmarks/<name>.json`.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(_cell(row.get(column)) for column in columns)} |")
    measured = {
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "rows": rows,
    }
    path = Path("build/benchmarks") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value or "")
