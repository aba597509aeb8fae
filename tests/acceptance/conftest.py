"""Where the installed command runs: an empty home, and a place for each test."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.acceptance import distributions
from tests.acceptance.command import Place

MakePlace = Callable[[], Place]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user who has set nothing, with one demo model for all."""
    home = tmp_path_factory.mktemp("home")
    ours = ("BATCHCHAT_", "XDG_", "PYTHON", "NO_COLOR")
    kept = {name: it for name, it in os.environ.items() if not name.startswith(ours)}
    return kept | {"HOME": str(home), "BATCHCHAT_MODEL_CACHE": str(home / "models")}


@pytest.fixture(scope="session")
def tripwire(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `vllm` that can't be imported."""
    folder = tmp_path_factory.mktemp("tripwire")
    (folder / "vllm.py").write_text("raise ImportError('no engine was to start')\n")
    return folder


@pytest.fixture(scope="module")
def make_place(
    environment: dict[str, str],
    tripwire: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MakePlace]:
    """Make places that last as long as a module's tests."""
    with ExitStack() as stack:

        def make() -> Place:
            folder = tmp_path_factory.mktemp("place")
            own = {
                "BATCHCHAT_STORAGE": str(folder / "storage"),
                "XDG_DATA_HOME": str(folder / "data"),
            }
            place = Place(folder, environment | own, tripwire)
            stack.enter_context(closing(place))
            return place

        yield make


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    """A place for one test."""
    return make_place()


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist of this checkout, and the wheel built from it."""
    return distributions.build(tmp_path_factory.mktemp("dist"))
