"""`make chaos`: disturbs clusters in all ways of the list, and says what was seen.

    python -m tests.chaos.main [--requests N] [--middle TOKENS] [ITEM...]

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
from tests.chaos.cluster import Cluster, cluster
from tests.chaos.items import ITEMS
from tests.chaos.load import Answer, Load
from tests.chaos.series import Seen
from tests.support.servers.s3_server import S3Server, s3_server

BUILD = Path("build/chaos")
WORKERS = 2
_SETTINGS = {2: {"engine_process": "subprocess"}}
_MODELS = {8: "fragile"}
_WITHIN = 30.0
"""Seconds within which another worker has a dead one's shards."""

_NEVER_TWICE = {3, 5}
"""Items that cost no result twice."""

_SWIFT = 60
"""The sixth item's number on OpenStack Swift."""


def main() -> int:
    """Run the items; return how many went wrong."""
    asked = _arguments()
    BUILD.mkdir(parents=True, exist_ok=True)
    load = Load(lognormal(asked.requests, middle=asked.middle, most=512))
    load.answers = _undisturbed(load, asked.simulate)
    report = {} if asked.items is None else _read("seen.json")
    wanted = asked.items or [*ITEMS, _SWIFT]
    own = {*_SETTINGS, *_MODELS, _SWIFT}
    groups = [[number for number in wanted if number not in own]]
    groups += [[number] for number in wanted if number in own]
    wrong = 0
    for group in filter(None, groups):
        for number, seen in _run(group, load, asked.simulate):
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


def _run(
    group: list[int], load: Load, simulates: float | None
) -> Iterator[tuple[int, Seen]]:
    """Run items one after the other on one cluster; its screens stay in build/chaos."""
    first = group[0]
    settings = _SETTINGS.get(first, {})
    folder = BUILD.absolute() / str(first)
    shutil.rmtree(folder, ignore_errors=True)
    with (
        _server(folder, is_swift=first == _SWIFT) as server,
        cluster(folder, server, simulates, **_shared(), **settings) as one,
    ):
        one.model = _MODELS.get(first, "demo")
        for number in group:
            one.start_workers(WORKERS)
            yield number, _disturb(number, one, load)


def _disturb(number: int, one: Cluster, load: Load) -> Seen:
    began, before = time.monotonic(), one.log_summary()
    try:
        seen = ITEMS[_item(number)][1](one, load)
        _judge(number, seen)
    except Exception as error:  # noqa: BLE001 - the other items are run all the same
        traceback.print_exc()
        seen = {"failed": str(error)[:400]}
    talk = {f"{name} said": n - before[name] for name, n in one.log_summary().items()}
    seconds = round(time.monotonic() - began)
    return seen | {"requests": load.requests, **talk, "took s": seconds}


def _judge(number: int, seen: Seen) -> None:
    """Hold what was seen against what is promised, on a machine with time to keep it.

    Elsewhere, as in every test run, only the answers count.
    """
    assert max(seen.get("running again after s") or [0]) <= _WITHIN, seen
    assert seen.get("exit", 0) == 0, seen
    assert number not in _NEVER_TWICE or seen["results stored twice"] == 0, seen


def _undisturbed(load: Load, simulates: float | None) -> dict[str, Answer]:
    """Return the answers of an undisturbed run; they are kept for later runs."""
    name = f"undisturbed-{load.digest}-{simulates or 'vllm'}.json"
    if not (BUILD / name).exists():
        folder = BUILD.absolute() / "undisturbed"
        shutil.rmtree(folder, ignore_errors=True)
        with (
            _server(folder, is_swift=False) as server,
            cluster(folder, server, simulates and 1e6, **_shared()) as one,
        ):
            one.start_workers(1)
            account = one.wait_for_end(one.submit(load.data), 900)
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
