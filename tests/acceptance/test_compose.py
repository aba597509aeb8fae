"""The commands of `docker-compose.yml`, with the settings of their services.

They run without Docker; Redis and S3 are servers of this machine.
"""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import yaml
from openai import OpenAI

from tests.support.servers.redis_server import redis_server
from tests.support.servers.s3_server import PLAIN

pytestmark = [pytest.mark.engine, pytest.mark.server]

ROOT = Path(__file__).parents[2]
REQUESTS = ROOT / "examples" / "requests.jsonl"
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


@pytest.fixture(scope="module")
def services():
    text = (ROOT / "docker-compose.yml").read_text()
    return yaml.safe_load(VARIABLE.sub(r"\2", text))["services"]


@pytest.fixture(scope="module")
def settings(services, moto, tmp_path_factory):
    """The environment of the services, with Redis and S3 on this machine."""
    with redis_server(tmp_path_factory.mktemp("redis")) as redis:
        given = services["controller"]["environment"]
        assert given == services["worker-cpu"]["environment"]
        bucket = services["storage"]["command"][-1].removeprefix("-bucket=")
        assert f"s3://{bucket}/" in given["BATCHCHAT_STORAGE"]
        moto.client.create_bucket(Bucket=bucket)
        here = {
            "BATCHCHAT_BROKER": redis.url,
            "BATCHCHAT_S3_ENDPOINT": f"http://127.0.0.1:{moto.port}",
        }
        filled = {name: value or "" for name, value in given.items()}  # `${NAME:-}`
        yield PLAIN | filled | here


@pytest.fixture(scope="module")
def cluster(make_place, services, settings):
    """A place with the environment of the services, and with the services running.

    At the end, they must exit in time on SIGTERM.
    """
    place = make_place()
    place.environment |= settings
    del place.environment["BATCHCHAT_STORAGE"]
    place.environment |= {"BATCHCHAT_STORAGE": settings["BATCHCHAT_STORAGE"]}
    for name in ("controller", "worker-cpu"):
        place.start(*services[name]["command"], engine=True)
    place.started[1].until_it_says("ready for shards")
    yield place
    _end_within_their_grace(place, services)


def _end_within_their_grace(place, services):
    """Stop the services as a container is stopped: SIGTERM to the first process."""
    for name, running in zip(
        ("worker-cpu", "controller"), reversed(place.started[:2]), strict=True
    ):
        os.kill(running.pid, signal.SIGTERM)
        grace = float(services[name]["stop_grace_period"].removesuffix("s"))
        assert running.end(grace).code == 0


def test_every_setting_of_the_services_exists(services):
    page = (ROOT / "docs" / "settings.md").read_text()
    given = services["controller"]["environment"]
    ours = [name for name in given if name.startswith("BATCHCHAT_")]
    assert all(f"`{name}`" in page for name in ours)


def test_a_batch_is_submitted_run_and_fetched(cluster):
    done = cluster.run(
        "submit", REQUESTS, "--model", "demo", "--output", "out.jsonl", "--json"
    )
    assert done.code == 0, done.err
    assert done.json()["status"] == "completed"
    asked = [json.loads(line) for line in REQUESTS.read_text().splitlines()]
    got = (cluster.folder / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["custom_id"] for line in got] == [
        line["custom_id"] for line in asked
    ]


def test_health_checks_pass_while_the_cluster_runs(cluster, services):
    for name in ("controller", "worker-cpu"):
        _, program, *arguments = services[name]["healthcheck"]["test"]
        assert program == "python"
        done = cluster.run(*arguments, program=[sys.executable])
        assert done.code == 0, done.err


def test_the_doctor_finds_the_whole_cluster(cluster):
    done = cluster.run("doctor", "--json")
    found = {finding["check"]: finding for finding in done.json()}
    assert done.code == 0, done.out
    assert found["cluster"]["message"] == "controllers: 1, workers: 1 (demo)"
    assert {finding["status"] for finding in found.values()} == {"ok"}


def test_a_batch_is_followed_by_watch(cluster):
    done = cluster.run("submit", REQUESTS, "--model", "demo", "--no-wait")
    batch_id = done.out.decode().strip()
    watched = cluster.run("watch", batch_id, "--json")
    assert watched.code == 0, watched.err
    assert watched.json()["request_counts"]["completed"] == 164
    assert "164" in cluster.run("status", batch_id).out.decode()


def test_a_cancelled_batch_keeps_finished_results(cluster):
    done = cluster.run("submit", REQUESTS, "--model", "demo", "--no-wait")
    batch_id = done.out.decode().strip()
    assert cluster.run("cancel", batch_id).code == 0
    watched = cluster.run("watch", batch_id, "--json").json()
    assert watched["status"] in {"cancelled", "completed"}
    results = cluster.run("results", batch_id).out.splitlines()
    errors = cluster.run("results", batch_id, "--errors").out.splitlines()
    assert len(results) + len(errors) in {0, 164}  # none, if it had no plan yet


def test_the_api_runs_batches_on_the_cluster(cluster, services):
    service = services["api"]
    key = cluster.run("keys", "create").out.decode().strip()
    port = {"BATCHCHAT_HOST": service["environment"]["BATCHCHAT_HOST"]}
    cluster.environment |= port | {"BATCHCHAT_PORT": "0"}
    server = cluster.start(*service["command"])
    server.until_it_says("listening on")
    url, *_ = re.findall(r"http://0\.0\.0\.0:\d+/v1", server.err.read_text())
    url = url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - read, not listened to
    with OpenAI(base_url=url, api_key=key) as client:
        file = client.files.create(file=REQUESTS, purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            extra_body={"model": "demo"},
        )
        assert cluster.run("watch", batch.id).code == 0
        counts = client.batches.retrieve(batch.id).request_counts
        assert counts is not None
        assert counts.completed == 164
    os.kill(server.pid, signal.SIGTERM)
    grace = float(service["stop_grace_period"].removesuffix("s"))
    assert server.end(grace).code == 0
