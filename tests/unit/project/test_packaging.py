"""The image, the compose file and the workflows agree with the repository."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]


def test_every_running_service_has_a_health_check(services):
    running = {name for name in services if services[name].get("restart") != "no"}
    assert running - {"batchchat"} == running
    assert [name for name in running if "healthcheck" not in services[name]] == []


def test_each_image_is_built_by_one_service(services):
    built = [service["image"] for service in services.values() if "build" in service]
    ours = {it["image"] for it in services.values() if "batchchat" in it["image"]}
    assert sorted(built) == sorted(ours)


def test_the_base_image_is_pinned_by_digest():
    [base] = re.findall(r"^ARG PYTHON=(\S+)", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)


def test_dependencies_are_installed_before_the_code_is_copied():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    dependencies = [stage for stage in stages if " AS dependencies-" in stage]
    assert len(dependencies) == 3
    assert not any("COPY jobs" in stage for stage in dependencies)


def test_every_lock_of_the_image_exists():
    names = re.findall(r"requirements/[\w.-]+", DOCKERFILE)
    assert names
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_the_gpu_lock_pins_the_engine_and_torch():
    text = (ROOT / "requirements/gpu.lock").read_text("utf-8")
    assert {"vllm", "torch"} <= set(re.findall(r"^([\w-]+)==", text, re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path):
    used = re.findall(r"uses: (\S+)", path.read_text("utf-8"))
    assert used
    for action in used:
        assert action.startswith("./") or re.search(r"@[0-9a-f]{40}$", action)
