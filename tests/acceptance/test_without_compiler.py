"""A CPU engine needs no compiler: the first run on a machine that has none."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.acceptance.command import Place

pytestmark = pytest.mark.engine

EXAMPLES = Path(__file__).parents[2] / "examples" / "requests.jsonl"
COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "clang++", "ninja")


@pytest.fixture
def bare_place(place: Place) -> Place:
    """Return a place with an empty home and empty caches, but without a compiler."""
    tools = place.folder / "bin"
    tools.mkdir()
    for folder in os.get_exec_path(place.environment):
        for tool in Path(folder).glob("*"):
            link = tools / tool.name
            if not (_is_compiler(tool.name) or link.is_symlink()):
                link.symlink_to(tool)
    kept = {name: it for name, it in place.environment.items() if name not in _UNSET}
    caches = {name: str(place.folder / name.lower()) for name in _CACHES}
    place.environment = {
        **kept,
        **caches,
        "HOME": str(place.folder / "home"),
        "PATH": str(tools),
    }
    return place


_UNSET = ("CC", "CXX", "TORCHDYNAMO_DISABLE", "BATCHCHAT_MODEL_CACHE")
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "VLLM_CACHE_ROOT")


def _is_compiler(name: str) -> bool:
    return any(compiler in name for compiler in COMPILERS)


@pytest.mark.parametrize("process", ["in_process", "subprocess"])
def test_logprobs_need_no_compiler(bare_place, process):
    lines = [
        line
        for line in EXAMPLES.read_bytes().splitlines(keepends=True)
        if json.loads(line)["body"].get("logprobs")
    ]
    assert len(lines) == 3
    path = bare_place.environment["PATH"]
    assert not any(shutil.which(compiler, path=path) for compiler in COMPILERS)
    file = bare_place.file("in.jsonl", b"".join(lines))
    output = bare_place.folder / "out.jsonl"

    done = bare_place.run(
        *("submit", file, "--model", "demo", "--output", output),
        engine=True,
        settings={"engine_process": process},
    )

    assert done.code == 0, done.err
    lines = output.read_bytes().splitlines()
    bodies = [json.loads(line)["response"]["body"] for line in lines]
    assert all(body["choices"][0]["logprobs"]["content"] for body in bodies)
    compiled = Path(bare_place.environment["TORCHINDUCTOR_CACHE_DIR"])
    assert not [file for file in compiled.rglob("*") if file.is_file()]
    assert "died" not in done.err
