"""batchchat shares an environment with a program that has packages of the same names.

Every command runs with such packages installed beside it, on `PYTHONPATH`, and in its
working directory.
"""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.acceptance import distributions
from tests.support.servers.redis_server import redis_server

EXAMPLES = Path(__file__).parents[2] / "examples" / "requests.jsonl"
LINES = b"".join(EXAMPLES.read_bytes().splitlines(keepends=True)[:5])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def python(dist, folder):
    """The interpreter of an environment with batchchat and the other program."""
    [wheel] = dist.glob("*.whl")
    python = distributions.install(wheel, folder / "environment")
    distributions.add(python, distributions.hostile_wheel(folder))
    return python


@pytest.fixture
def place(make_place):
    """A place with such packages in its folder and on its `PYTHONPATH`."""
    place = make_place()
    distributions.hostile_packages(place.folder)
    path = distributions.hostile_packages(place.folder / "path")
    place.environment |= {"PYTHONPATH": str(path)}
    return place


@pytest.fixture
def how(python):
    """How a place runs the installed command."""
    return {"program": [str(python.with_name("batchchat"))], "engine": True}


def test_the_packages_do_collide(place, python):
    code = "import batchchat; print(batchchat.__file__); import jobs"
    done = place.run("-c", code, program=[str(python)], engine=True)
    assert str(python.parents[1]) in done.out.decode()
    assert "a package of another program" in done.err


def test_a_file_is_validated(place, how):
    done = place.run("validate", EXAMPLES, "--model", "demo", **how)
    assert done.code == 0, done.err


def test_batchchat_runs_as_a_module(place, python):
    done = place.run("--version", program=[str(python), "-m", "batchchat"], engine=True)
    assert done.code == 0, done.err


@pytest.mark.server
def test_a_cluster_completes_a_batch(place, how, tmp_path):
    with redis_server(tmp_path) as redis:
        place.environment |= {"BATCHCHAT_BROKER": redis.url}
        controller = place.start("controller", **how)
        settings = {"simulated_tokens_per_second": 1000}
        worker = place.start("worker", "--model", "demo", settings=settings, **how)
        worker.until_it_says("ready for shards")
        done = place.run("submit", "-", "--model", "demo", "--json", stdin=LINES, **how)
        assert done.code == 0, done.err
        assert done.json()["request_counts"]["completed"] == 5
        for running in (worker, controller):
            os.kill(running.pid, signal.SIGTERM)
            assert running.end().code == 0


@pytest.mark.engine
def test_vllm_completes_a_batch(place, how):
    options = ["--model", "demo", "--output", "out.jsonl"]
    done = place.run("submit", "-", *options, stdin=LINES, **how)
    assert done.code == 0, done.err
    lines = (place.folder / "out.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["error"] for line in lines] == [None] * 5


def test_uninstalling_the_other_program_leaves_batchchat_intact(
    dist, tmp_path, make_place
):
    [wheel] = dist.glob("*.whl")
    python = distributions.install(wheel, tmp_path / "environment")
    distributions.add(python, distributions.hostile_wheel(tmp_path))
    distributions.remove(python, "someones-app")
    command = str(python.with_name("batchchat"))
    done = make_place().run("validate", EXAMPLES, "--model", "demo", program=[command])
    assert done.code == 0, done.err
