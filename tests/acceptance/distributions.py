"""Builds the distributions, installs them, and makes one that collides with them."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAT = ("api", "cli", "jobs", "workers")
_FAILING = "raise ImportError('{} is a package of another program')\n"
_CACHES = shutil.ignore_patterns(".*", "__pycache__", "build", "dist")


def build(folder: Path) -> Path:
    """Build the sdist, and a wheel from it, of a copy of this checkout."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_CACHES, symlinks=True)
    built = _uv("build", str(source), check=False)
    if "`build-system.requires`" in built.stderr:
        pytest.skip("needs hatchling, which is not cached here and cannot be fetched")
    assert built.returncode == 0, built.stderr
    return source / "dist"


def install(wheel: Path, environment: Path) -> Path:
    """Install a wheel in a new environment, without its dependencies; return python.

    The packages of the environment that runs the tests are importable there, but its
    own, editable batchchat is not: a path in a `.pth` file reads no other `.pth` file.
    """
    _uv("venv", "--python", sys.executable, str(environment))
    python = environment / "bin" / "python"
    _uv("pip", "install", "--python", str(python), "--no-deps", str(wheel))
    [packages] = environment.glob("lib/python*/site-packages")
    lines = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "dependencies.pth").write_text("\n".join(sorted(lines)) + "\n")
    return python


def add(python: Path, wheel: Path) -> None:
    """Install one more wheel in an environment."""
    _uv("pip", "install", "--python", str(python), "--no-deps", str(wheel))


def remove(python: Path, name: str) -> None:
    """Uninstall a distribution from an environment."""
    _uv("pip", "uninstall", "--python", str(python), name)


def hostile_packages(folder: Path) -> Path:
    """Write packages named like batchchat's four folders that fail when imported."""
    for name in FLAT:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(_FAILING.format(name))
    return folder


def hostile_wheel(folder: Path) -> Path:
    """Make a wheel of such packages."""
    info = "someones_app-1.0.dist-info"
    record = f"{info}/RECORD"
    files = {f"{name}/__init__.py": _FAILING.format(name) for name in FLAT}
    files |= {f"{name}/errors.py": "" for name in FLAT}
    files[f"{info}/METADATA"] = (
        "Metadata-Version: 2.1\nName: someones-app\nVersion: 1.0\n"
    )
    files[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[record] = "".join(f"{name},,\n" for name in [*files, record])
    wheel = folder / "someones_app-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def _uv(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=check)
