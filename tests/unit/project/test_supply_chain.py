"""The compose file exposes only the API, and locks name the exact files to install."""

import re
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PIN = re.compile(
    r"^([\w.-]+)==(\S+)[^\n]*?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.MULTILINE
)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def test_the_only_port_is_the_apis_and_on_loopback_by_default(services):
    published = {name: services[name].get("ports", []) for name in services}
    assert {name: ports for name, ports in published.items() if ports} == {
        "api": ["${API_BIND:-127.0.0.1}:${BATCHCHAT_PORT:-8000}:8000"]
    }


@pytest.mark.parametrize(
    ("name", "network"), [("redis", "broker"), ("storage", "store")]
)
def test_services_that_trust_their_clients_have_an_internal_network(
    compose, services, name, network
):
    assert services[name]["networks"] == [network]
    assert compose["networks"][network] == {"internal": True}


def test_redis_requires_the_password_that_its_clients_have(services):
    assert 'requirepass "$$REDISCLI_AUTH"' in services["redis"]["command"][-1]
    password = services["redis"]["environment"]["REDISCLI_AUTH"]
    broker = services["controller"]["environment"]["BATCHCHAT_BROKER"]
    assert broker == f"redis://:{password}@redis:6379/0"


def test_only_services_that_download_models_have_a_hub_token(services):
    having = {
        name for name, it in services.items() if "HF_TOKEN" in it.get("environment", {})
    }
    assert having == {"controller", "worker-cpu", "worker-gpu"}


def test_no_service_can_gain_privileges(services):
    for service in services.values():
        assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_file_has_a_hash(path):
    pins = PIN.findall(path.read_text("utf-8"))
    assert len(pins) > 100
    without = [f"{name}=={version}" for name, version, hashes in pins if not hashes]
    assert [pin for pin in without if not re.match(r"torch==.*\+cpu$", pin)] == []


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_jinja2_has_no_known_hole_in_its_sandbox(path):
    pins = {name: version for name, version, _ in PIN.findall(path.read_text("utf-8"))}
    assert Version(pins["jinja2"]) >= Version("3.1.6")


def test_everything_in_the_image_comes_from_a_lock():
    installs = re.findall(r"pip install (.*?)\n\n", DOCKERFILE + "\n\n", re.DOTALL)
    assert len(installs) == 4
    for arguments in installs:
        assert "--require-hashes" in arguments or ".lock" in arguments
