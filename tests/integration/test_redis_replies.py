"""A consumer outlives whatever Redis replies, and then takes messages again."""

import signal

import pytest

from batchchat.workers.broker.celery_app import CeleryQueue, make_app
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from tests.integration.consumers import QUEUE, consumer_process
from tests.support.servers.redis_proxy import WRITES, redis_proxy
from tests.support.servers.redis_server import redis_server
from tests.support.wait import wait_until

pytestmark = pytest.mark.server

WRITE_ERRORS = {
    "READONLY": "You can't write against a read only replica.",
    "MISCONF": "Redis is configured to save RDB snapshots, but cannot",
    "NOREPLICAS": "Not enough good replicas to write.",
    "OOM": "command not allowed when used memory > 'maxmemory'.",
    "NOPERM": "User default has no permissions to run the 'brpop' command",
    "UNBLOCKED": "force unblock from blocking operation, instance state changed",
}
ALL_ERRORS = {
    "LOADING": "Redis is loading the dataset in memory",
    "MASTERDOWN": "Link with MASTER is down and replica-serve-stale-data is 'no'.",
    "CLUSTERDOWN": "The cluster is down",
    "BUSY": "Redis is busy running a script.",
    "NOAUTH": "Authentication required.",
    "WRONGPASS": "invalid username-password pair or user is disabled.",
    "TRYAGAIN": "Multiple keys request during rehashing of slot",
    "MOVED": "3999 127.0.0.1:6381",
    "ERR": "max number of clients reached",
    "ERR unknown": "command",
    "INVENTED": "by a later version",
}
NOT_REDIS = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "nothing": b"\r\n",
    "no number": b":x\r\n",
    "no length": b"$x\r\n",
    "negative": b"*-7\r\n",
    "another type": b"+OK\r\n",
    "a number": b":7\r\n",
    "a map": b"%1\r\n+a\r\n+b\r\n",
    "empty list": b"*0\r\n",
    "one item": b"*1\r\n+a\r\n",
    "binary": bytes(range(128, 256)) + b"\r\n",
}
REPLIES = (
    {
        code: (f"-{code} {text}\r\n".encode(), WRITES)
        for code, text in WRITE_ERRORS.items()
    }
    | {code: (f"-{code} {text}\r\n".encode(), ()) for code, text in ALL_ERRORS.items()}
    | {f"not Redis: {name}": (reply, ()) for name, reply in NOT_REDIS.items()}
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server):
    with redis_proxy(server.port) as one:
        yield one


@pytest.fixture(scope="module")
def consumer(proxy, tmp_path_factory):
    with consumer_process(proxy.url, tmp_path_factory.mktemp("consumer")) as one:
        yield one
        assert "Traceback" not in one.log.read_text()


@pytest.mark.parametrize("name", REPLIES)
def test_a_consumer_outlives_every_reply(server, proxy, consumer, name):
    assert consumer.takes_message(server.url)
    replies = proxy.replies
    proxy.reply, proxy.refused = REPLIES[name]
    wait_until(lambda: proxy.replies >= replies + 2)
    proxy.reply = b""
    assert consumer.takes_message(server.url)


def test_a_consumer_outlives_a_failover(server, consumer):
    assert consumer.takes_message(server.url)
    server.client.replicaof("127.0.0.1", 1)
    wait_until(lambda: server.client.info("errorstats").get("errorstat_READONLY"))
    server.client.replicaof("no", "one")
    assert consumer.takes_message(server.url)


def test_a_consumer_takes_messages_while_the_memory_is_full(server, consumer):
    assert consumer.takes_message(server.url)
    message = WorkMessage.for_shard("p", "batch_2", 0)
    consumer.process.send_signal(signal.SIGSTOP)
    CeleryQueue(make_app(server.url), open_redis(server.url)).send(QUEUE, message)
    server.client.config_set("maxmemory", 1)
    consumer.process.send_signal(signal.SIGCONT)
    assert consumer.next_name() == message.name
    server.client.config_set("maxmemory", 0)
    assert consumer.takes_message(server.url)
