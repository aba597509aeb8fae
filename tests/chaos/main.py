"""`make chaos`: disturbs clusters in all ways of the list, and says what was seen.

    python -m tests.chaos.main [--requests N] [--middle TOKENS] [--simulate TOKENS] [ITEM...]

Each item has a batch of its own, of the same requests, on two workers with real
vLLM and the demo model. What is seen is written to build/chaos/seen.json, item by
item, so that the list can be run in parts.
"""

import argparse
import json
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance.inputs import lognormal
from tests.chaos.cluster import cluster
from tests.chaos.items import ITEMS, Seen
from tests.chaos.load import Answer, Load
from tests.servers.s3_server import S3Server, s3_server

BUILD = Path("build/chaos")
WORKERS = 2
_SETTINGS = {2: {"engine_process": "apart"}}
_MODELS = {8: "fragile"}
_SWIFT = 60
"""The sixth item's number on OpenStack Swift."""


def main() -> int:
    """Run the items; return how many went wrong."""
    asked = _arguments()
    BUILD.mkdir(parents=True, exist_ok=True)
    load = Load(lognormal(asked.requests, middle=asked.middle, most=512))
    load.answers = _undisturbed(load, asked.simulate)
    report = {} if asked.items is None else _read("seen.json")
    wrong = 0
    for number in asked.items or [*ITEMS, _SWIFT]:
        seen = _run(number, load, asked.simulate)
        wrong += "failed" in seen
        report[str(number)] = {"item": _name(number), **seen}
        (BUILD / "seen.json").write_text(json.dumps(report, indent=1) + "\n")
        _show(number, seen)
    return wrong


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--middle", type=int, default=48, help="tokens of half of them")
    parser.add_argument("--simulate", type=float, help="tokens a second, without vLLM")
    parser.add_argument("items", type=int, nargs="*", default=None, metavar="ITEM")
    asked = parser.parse_args()
    asked.items = asked.items or None
    return asked


def _run(number: int, load: Load, simulates: float | None) -> Seen:
    """Run one item in a cluster of its own; its screens stay in build/chaos."""
    settings = _SETTINGS.get(number, {})
    folder = BUILD.absolute() / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    try:
        with (
            _server(folder, is_swift=number == _SWIFT) as server,
            cluster(folder, server, simulates, **_shared(), **settings) as one,
        ):
            one.model = _MODELS.get(number, "demo")
            one.controller()
            one.workers(WORKERS)
            seen = ITEMS[_item(number)][1](one, load)
            seen |= {"requests": load.requests, **one.talk()}
    except Exception as error:  # noqa: BLE001 - the other items are run all the same
        traceback.print_exc()
        seen = {"failed": str(error)[:400]}
    return seen | {"took s": round(time.monotonic() - began)}


def _undisturbed(load: Load, simulates: float | None) -> dict[str, Answer]:
    """Return the answers of a run that nobody disturbs; they are kept for next time."""
    name = f"undisturbed-{load.digest}-{simulates or 'vllm'}.json"
    if not (BUILD / name).exists():
        folder = BUILD.absolute() / "undisturbed"
        shutil.rmtree(folder, ignore_errors=True)
        with (
            _server(folder, is_swift=False) as server,
            cluster(folder, server, simulates and 1e6, **_shared()) as one,
        ):
            one.controller()
            one.workers(1, OMP_NUM_THREADS="2")
            account = one.wait(one.submit(load.data), 900)
        load.check(account)
        (BUILD / name).write_text(json.dumps(account.answers))
    return {custom_id: (text, seed) for custom_id, (text, seed) in _read(name).items()}


@contextmanager
def _server(folder: Path, *, is_swift: bool) -> Iterator[S3Server]:
    if is_swift:
        place, key, secret = folder / "swift", "test:tester", "testing"
        place.mkdir(parents=True)
        with s3_server("swift_main.py", place, key=key, secret=secret) as server:
            yield server
    else:
        with s3_server("moto_main.py", key="any", secret="any") as server:
            yield server


def _shared() -> dict[str, str]:
    return {"model_cache": str(BUILD.absolute() / "models")}


def _item(number: int) -> int:
    return 6 if number == _SWIFT else number


def _name(number: int) -> str:
    name = ITEMS[_item(number)][0]
    return f"{name}, on OpenStack Swift" if number == _SWIFT else name


def _read(name: str) -> dict[str, Any]:
    path = BUILD / name
    return json.loads(path.read_text()) if path.exists() else {}


def _show(number: int, seen: Seen) -> None:
    print(f"\n{number:>2}  {_name(number)}", flush=True)  # noqa: T201 - its answer
    for name, value in seen.items():
        print(f"      {name}: {value}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
