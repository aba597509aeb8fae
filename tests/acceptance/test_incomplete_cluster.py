"""Commands on a cluster in which nothing runs say what is missing, once."""

import signal

import pytest

from tests.acceptance.inputs import few
from tests.support.servers.redis_server import redis_server

NO_REDIS = "Redis is not available"
NO_CONTROLLER = "start one with `batchchat controller`"


@pytest.fixture(scope="module")
def place(make_place):
    return make_place()


@pytest.fixture(scope="module", params=["no Redis", "no controller"])
def cluster(request, tmp_path_factory):
    """The URL of a Redis, and what commands are to say about it."""
    if request.param == "no Redis":
        yield "redis://127.0.0.1:1", NO_REDIS
        return
    with redis_server(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url, NO_CONTROLLER


@pytest.fixture(scope="module")
def submitted(place, cluster):
    """A submit without waiting."""
    file = place.file("requests.jsonl", few())
    options = ["--model", "demo", "--no-wait"]
    return place.run("submit", file, *options, settings={"broker": cluster[0]})


def test_submit_says_what_is_missing(submitted, cluster):
    assert submitted.code == 0
    assert submitted.err.count(cluster[1]) == 1
    batch_id = submitted.out.decode().strip()
    assert f"then follow it with `batchchat watch {batch_id}`" in submitted.err


@pytest.mark.parametrize("command", [["status"], ["status", "--json"]], ids=" ".join)
def test_status_says_what_is_missing(place, submitted, cluster, command):
    batch_id = submitted.out.decode().strip()
    done = place.run(
        command[0], batch_id, *command[1:], settings={"broker": cluster[0]}
    )
    assert done.code == 0
    assert done.err.count(cluster[1]) == (0 if "--json" in command else 1)
    assert "keeps running" not in done.err


def test_list_does_not_say_that_the_cluster_runs_it(place, submitted, cluster):
    done = place.run("list", settings={"broker": cluster[0]})
    row = done.out.decode().splitlines()[1]
    assert (" unknown " if cluster[1] == NO_REDIS else " none ") in row
    assert done.err.count(NO_REDIS) == (cluster[1] == NO_REDIS)
    assert submitted.code == 0


def test_watch_says_what_is_missing_and_does_not_say_that_it_runs(
    place, submitted, cluster
):
    batch_id = submitted.out.decode().strip()
    watching = place.start("watch", batch_id, settings={"broker": cluster[0]})
    watching.until_it_says("waiting for the cluster")
    watching.signal(signal.SIGINT)
    done = watching.end()
    assert done.code == 130
    assert done.err.count(cluster[1]) == 1
    assert "keeps running" not in done.err
    assert f"hint: follow it later with `batchchat watch {batch_id}`" in done.err
