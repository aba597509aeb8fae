"""The measurements reach into the product by name, and are seldom run."""

from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

import pytest

FOLDER = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_what_a_measurement_imports_is_there(name):
    import_module(name)


def test_what_is_timed_is_there():
    ours = [
        place
        for place in import_module("where_time_goes").PARTS.values()
        if not place.startswith("vllm.")
    ]
    assert len(ours) > 10
    for place in ours:
        assert callable(resolve_name(place))


def test_each_measurement_is_run_by_make_bench():
    shared = {"every", "one_engine", "report", "against_chat"}
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names - shared == import_module("every").SMALL.keys()
