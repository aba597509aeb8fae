"""The benchmarks use the product's internals by name, and are seldom run."""

from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

from benchmarks.every import SMALL
from benchmarks.where_time_goes import PARTS

FOLDER = Path(__file__).parents[3] / "benchmarks"
NAMES = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_benchmark_can_be_imported(name):
    if name in {"gpu_executor", "gpu_speed"}:
        pytest.importorskip("vllm")
    import_module(f"benchmarks.{name}")


def test_the_functions_that_are_timed_exist():
    places = [place for place in PARTS.values() if not place.startswith("vllm.")]
    assert len(places) > 10
    for place in places:
        assert callable(resolve_name(place))


def test_make_bench_runs_every_benchmark():
    shared = {"every", "one_engine", "report", "against_chat"}
    shared |= {"slow_storage", "gpu_executor"}
    assert NAMES - shared == SMALL.keys()
