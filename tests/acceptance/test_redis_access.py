"""Processes log in to Redis as the documentation says, and keep the password secret."""

from pathlib import Path

import pytest

from tests.acceptance.processes import living
from tests.acceptance.redis_cluster import RedisCluster
from tests.support.servers.redis_server import redis_server
from tests.support.servers.tls_redis import tls_redis

pytestmark = [pytest.mark.server, pytest.mark.slow]
DOCS = Path(__file__).parents[2] / "docs" / "redis.md"
PASSWORD = "correct/horse#battery"
ENCODED = "correct%2Fhorse%23battery"
PARTS = ("correct", "horse", "battery")
DAEMONS = [("controller",), ("worker", "--model", "demo"), ("serve", "--port", "0")]
"""The commands that keep running."""


def user_of_docs():
    """Return the arguments of the command in the documentation."""
    lines = DOCS.read_text().splitlines()
    [command] = [line for line in lines if line.startswith("ACL SETUSER batchchat ")]
    return command.replace(">PASSWORD", f">{PASSWORD}").split()


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as one:
        one.client.execute_command(*user_of_docs())
        yield one


@pytest.fixture
def cluster(make_place, redis):
    """A cluster whose processes use the user of the documentation."""
    url = f"redis://batchchat:{ENCODED}@127.0.0.1:{redis.port}/0"
    one = RedisCluster(make_place(), redis, url)
    yield one
    one.place.close()


def test_the_documented_user_runs_a_batch(cluster, redis):
    redis.client.acl_log_reset()
    cluster.start()
    batch_id = cluster.submit(60, tokens=10)
    cluster.run("cancel", cluster.submit(20, tokens=100))
    assert not any(part in one.command for one in living() for part in PARTS)
    cluster.wait_for(batch_id, "completed")
    doctor = cluster.run("doctor")
    assert doctor.code == 0, doctor.out
    cluster.assert_undisturbed()
    assert redis.client.acl_log() == []
    assert not any(part in cluster.logs() for part in PARTS)


def test_redis_6_2_has_the_documented_commands(redis):
    since = {}
    for name in redis.client.execute_command("COMMAND LIST"):
        [(_, docs)] = redis.client.execute_command("COMMAND DOCS", name).items()
        since[name] = docs["since"]
        since |= {n: d["since"] for n, d in docs.get("subcommands", {}).items()}
    used = {
        word[1:] for word in user_of_docs() if word.startswith("+") and "@" not in word
    }
    assert len(used) > 20
    late = {name for name in used if [*map(int, since[name].split("."))] > [6, 2, 0]}
    assert late == {"client|setinfo"}


LOGINS = {
    "another password": "redis://batchchat:horse@127.0.0.1:{port}/0",
    "another user": f"redis://user:{ENCODED}@127.0.0.1:{{port}}/0",
    "not encoded": f"redis://batchchat:{PASSWORD}@127.0.0.1:{{port}}/0",
    "no TLS": f"rediss://:{ENCODED}@127.0.0.1:{{port}}/0?socket_timeout=1",
    "no port": "redis://127.0.0.1:horse/0",
    "unknown option": "redis://batchchat:horse@127.0.0.1:{port}/0?battery=1",
}


@pytest.mark.parametrize("daemon", DAEMONS, ids=[name for name, *_ in DAEMONS])
@pytest.mark.parametrize("login", LOGINS)
def test_a_process_that_cannot_log_in_exits_with_2(cluster, redis, daemon, login):
    cluster.url = LOGINS[login].format(port=redis.port)
    done = cluster.run(*daemon)
    assert done.code == 2, done.err
    assert "BATCHCHAT_BROKER" in done.err
    assert "hint:" in done.err
    secret = PARTS if login != "unknown option" else PARTS[:2]
    assert not any(part in done.err for part in secret)


def test_a_batch_runs_over_tls(make_place, tmp_path_factory):
    with tls_redis(tmp_path_factory.mktemp("redis")) as one:
        cluster = RedisCluster(make_place(), one.server, one.url(one.trusted))
        cluster.start()
        batch_id = cluster.submit(20, tokens=2)
        cluster.wait_for(batch_id, "completed")
        cluster.assert_undisturbed()
