"""The distributions contain the application and nothing else."""

import tarfile
import zipfile

import pytest

from tests.acceptance.distributions import FLAT, ROOT


@pytest.fixture(scope="module")
def wheel(dist):
    [path] = dist.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def names(wheel):
    return set(wheel.namelist())


def test_the_wheel_has_every_module_and_its_data(names):
    files = [file for package in FLAT for file in (ROOT / package).rglob("*.*")]
    kept = [file for file in files if file.is_file() and file.suffix != ".pyc"]
    assert {f"batchchat/{file.relative_to(ROOT).as_posix()}" for file in kept} <= names
    catalog = "batchchat/jobs/catalog"
    assert {f"{catalog}/catalog.toml", f"{catalog}/demo_corpus.txt"} <= names
    assert {"batchchat/__main__.py", "batchchat/py.typed"} <= names


def test_the_wheel_has_one_top_level_name(names):
    tops = {name.partition("/")[0] for name in names}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert tops - info == {"batchchat"}
    assert len(info) == 1


def test_the_wheel_has_the_command_and_the_engine_plugin(wheel, names):
    [points] = (name for name in names if name.endswith("entry_points.txt"))
    text = wheel.read(points).decode()
    assert "batchchat = batchchat.cli.main:main" in text
    guard = "batchchat_guard = batchchat.workers.engine.process_guard:install"
    assert f"[vllm.general_plugins]\n{guard}" in text


def test_the_sdist_has_each_file_of_the_wheel_once(dist, names):
    [path] = dist.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        members = [member for member in opened.getmembers() if member.isfile()]
    inside = [member.name.partition("/")[2] for member in members]
    assert {name for name in names if name.startswith("batchchat/")} <= set(inside)
    assert len(inside) == len(set(inside))
    assert not any(name.startswith(FLAT) for name in inside)
