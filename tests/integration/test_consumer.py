"""Celery's consumer on a real Redis, in a process of its own as a worker's is."""

import json

import pytest

from batchchat.workers.broker.celery_app import CeleryQueue, make_app
from batchchat.workers.broker.celery_transport import TASK_NAME
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from tests.integration.consumers import QUEUE, consumer_process
from tests.support.servers.redis_server import redis_server

pytestmark = pytest.mark.server
STRANGE = [
    ([], {}),
    (["no message"], {}),
    (["a", "b"], {}),
    ([], {"name": "x", "y": 1}),
]
FOREIGN = {
    "string": lambda redis, key: redis.set(key, "x"),
    "hash": lambda redis, key: redis.hset(key, "a", "b"),
    "set": lambda redis, key: redis.sadd(key, "x"),
    "stream": lambda redis, key: redis.xadd(key, {"a": "b"}),
    "no JSON": lambda redis, key: redis.lpush(key, "x", "{", "", "[" * 100_000),
    "other JSON": lambda redis, key: redis.lpush(
        key, "3", "null", "[]", "{}", '"x"', '{"headers": {"id": "p/b/plan/x"}}'
    ),
    "only a name": lambda redis, key: redis.lpush(key, '{"headers": {"id": "x"}}'),
    "binary": lambda redis, key: redis.lpush(key, bytes(range(256))),
    "huge": lambda redis, key: redis.lpush(key, "x" * 4_000_000),
}


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path) as one:
        yield one


@pytest.fixture
def consumer(server, tmp_path):
    with consumer_process(server.url, tmp_path) as one:
        yield one


def test_unknown_messages_do_not_block_work_messages(server, consumer):
    app = make_app(server.url)
    for arguments, named in STRANGE:
        app.send_task(TASK_NAME, arguments, named, queue=QUEUE)
    messages = [
        WorkMessage.for_shard("p", f"batch_{'0' * 32}", shard) for shard in range(3)
    ]
    queue = CeleryQueue(app, open_redis(server.url))
    for message in messages:
        queue.send(QUEUE, message)
    names = [consumer.next_name() for _ in messages]
    assert names == [message.name for message in messages]


def test_foreign_values_do_not_stop_a_consumer(server, consumer):
    assert consumer.takes_message(server.url)
    for put in FOREIGN.values():
        put(server.client, f"batchchat:{QUEUE}")
        assert consumer.takes_message(server.url)
    log = consumer.log.read_text()
    assert log.count("skipped a message") == 1
    assert "Traceback" not in log


def test_only_the_name_of_a_message_is_used(server, consumer):
    strange = {
        "task": 3,
        "id": "p/batch_1/00007",
        "eta": "x",
        "retries": [],
        "root": {},
    }
    server.client.lpush(f"batchchat:{QUEUE}", json.dumps({"headers": strange}))
    assert consumer.next_name() == "p/batch_1/00007"
