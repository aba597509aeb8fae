"""What is in the wheel: the application and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHES = shutil.ignore_patterns(".*", "__pycache__", "build", "dist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(ROOT, source, ignore=CACHES)
    command = [sys.executable, "-m", "uv", "build", "--wheel", str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "`build-system.requires`" in built.stderr:
        pytest.skip("needs hatchling, which is neither cached here nor to be had")
    assert built.returncode == 0, built.stderr
    [wheel] = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        yield opened


@pytest.fixture(scope="module")
def names(wheel):
    return set(wheel.namelist())


def test_it_has_every_module_and_its_data(names):
    packages = [ROOT / name for name in ("api", "cli", "jobs", "workers")]
    files = [file for package in packages for file in package.rglob("*.*")]
    kept = [file for file in files if file.is_file() and file.suffix != ".pyc"]
    assert {f"batchchat/{file.relative_to(ROOT).as_posix()}" for file in kept} <= names
    catalog = "batchchat/jobs/catalog"
    assert {f"{catalog}/catalog.toml", f"{catalog}/demo_corpus.txt"} <= names
    assert {"batchchat/__main__.py", "batchchat/py.typed"} <= names


def test_it_has_nothing_else(names):
    tops = {name.partition("/")[0] for name in names}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert tops - info == {"batchchat"}
    assert len(info) == 1


def test_it_brings_the_command_and_the_engines_guard(wheel, names):
    [points] = (name for name in names if name.endswith("entry_points.txt"))
    text = wheel.read(points).decode()
    assert "batchchat = batchchat.cli.main:main" in text
    guard = "batchchat_guard = batchchat.workers.engine.process_guard:install"
    assert f"[vllm.general_plugins]\n{guard}" in text
