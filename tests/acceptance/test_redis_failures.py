"""A cluster outlives whatever happens to its Redis, and the commands say what it is."""

import os
import signal
from contextlib import contextmanager

import pytest

from tests.acceptance.processes import living
from tests.acceptance.redis_cluster import RedisCluster
from tests.support.servers.redis_server import redis_server
from tests.support.wait import wait_until

pytestmark = [pytest.mark.server, pytest.mark.slow]


@contextmanager
def started_cluster(place, folder):
    with redis_server(folder) as redis:
        cluster = RedisCluster(place, redis, redis.url)
        cluster.start()
        yield cluster


@pytest.fixture(scope="module")
def cluster(make_place, tmp_path_factory):
    """A cluster whose processes never restart."""
    with started_cluster(make_place(), tmp_path_factory.mktemp("redis")) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(make_place, tmp_path):
    """A cluster for a test that kills its processes."""
    with started_cluster(make_place(), tmp_path) as cluster:
        yield cluster


def fail_over(redis):
    """Make Redis a replica; return how to make it the master again."""
    redis.replicaof("127.0.0.1", 1)
    return lambda: redis.replicaof("no", "one")


def fill(redis):
    redis.config_set("maxmemory", 1)
    return lambda: redis.config_set("maxmemory", 0)


def lose_replicas(redis):
    redis.config_set("min-replicas-to-write", 1)
    return lambda: redis.config_set("min-replicas-to-write", 0)


def forbid(redis):
    """Take the permission to write from the user of all processes."""
    redis.acl_setuser("admin", enabled=True, nopass=True, categories=["+@all"])
    redis.execute_command("ACL", "SETUSER", "default", "-@write")
    return lambda: redis.execute_command("ACL", "SETUSER", "default", "+@all")


def replace_password(redis):
    redis.config_set("requirepass", "another")
    redis.client_kill_filter(skipme=True, _type="normal")
    return lambda: redis.config_set("requirepass", "")


FAILURES = {
    "READONLY": fail_over,
    "OOM": fill,
    "NOREPLICAS": lose_replicas,
    "NOPERM": forbid,
    "NOAUTH": replace_password,
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_batch_survives_and_status_and_doctor_say_what_redis_replies(cluster, code):
    batch_id = cluster.submit(100, tokens=80)
    cluster.wait_for(batch_id, "in_progress")
    admin = cluster.redis.client
    admin.ping()
    cluster.forget_reports()
    undo = FAILURES[code](admin)
    status, doctor = cluster.run("status", batch_id), cluster.run("doctor")
    for said in (status.err, doctor.out.decode()):
        assert f"Redis replied: {code} " in said
        assert "batchchat controller" not in said
    assert doctor.code == 1
    wait_until(lambda: f"Redis replied: {code} " in cluster.logs())
    undo()
    cluster.wait_for(batch_id, "completed")
    cluster.assert_undisturbed()
    assert cluster.batch(batch_id)["request_counts"]["completed"] == 100


def test_a_controller_that_dies_is_restarted(own_cluster):
    controller = own_cluster.processes[0]
    [child] = [one for one in living() if one.parent == controller.pid]
    os.kill(child.pid, signal.SIGKILL)
    controller.until_it_says("the controller exited with status -9; restarting in")
    batch_id = own_cluster.submit(20, tokens=2)
    own_cluster.wait_for(batch_id, "completed")
