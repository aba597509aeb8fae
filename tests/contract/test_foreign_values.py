"""Values of any type in any key of batchchat's neither raise nor last."""

import pytest

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.broker.announcements import Announcements
from batchchat.workers.broker.celery_app import CeleryQueue, make_app
from batchchat.workers.broker.leases import RedisLeases
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import (
    RedisStatusBoard,
    ShardProgress,
    WorkerStatus,
)
from tests.support.servers.redis_server import redis_server

pytestmark = pytest.mark.server
HUGE = "x" * 4_000_000
TEXTS = {
    "empty": "",
    "text": "x",
    "number": "3",
    "negative": "-1e999",
    "JSON": '{"id": 3, "headers": {"id": "a"}}',
    "nested": "[" * 100_000,
    "binary": bytes(range(256)),
    "huge": HUGE,
}
TYPES = {
    "hash": lambda redis, key: redis.hset(key, "a", "b"),
    "list": lambda redis, key: redis.rpush(key, "x"),
    "set": lambda redis, key: redis.sadd(key, "x"),
    "sorted set": lambda redis, key: redis.zadd(key, {"x": 1}),
    "stream": lambda redis, key: redis.xadd(key, {"a": "b"}),
}


def _as_string(text):
    return lambda redis, key: redis.set(key, text)


def _as_expiring(text):
    return lambda redis, key: redis.set(key, text, ex=1000)


def _as_list(text):
    return lambda redis, key: redis.rpush(key, text, text)


def _as_fields(text):
    return lambda redis, key: redis.hset(key, mapping={"0": text, "x": text, text: "y"})


FORMS = {"string": _as_string, "list": _as_list, "hash": _as_fields}
FOREIGN = TYPES | {
    f"{form} {name}": make(text)
    for form, make in FORMS.items()
    for name, text in TEXTS.items()
}
EXPIRING = {f"expiring {name}": _as_expiring(text) for name, text in TEXTS.items()}
MESSAGE = WorkMessage.for_shard("p", "batch_1", 2)
WORKER = WorkerStatus(
    id="w", queue="q", model="m", host="h", since=1, tokens_per_second=2, shards=["s"]
)
PROGRESS = ShardProgress(Counts(4, 3, 1), Usage(10, 2, 7))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=FOREIGN | EXPIRING)
def put(request, server):
    """Put a foreign value into a key."""
    server.client.flushall()
    return lambda key: (FOREIGN | EXPIRING)[request.param](server.client, key)


@pytest.fixture
def redis(server):
    return open_redis(server.url)


def test_a_queue_works(put, redis, server):
    put("batchchat:model.x")
    queue = CeleryQueue(make_app(server.url), redis)
    assert queue.waiting("model.x") == set()
    queue.send("model.x", MESSAGE)
    queue.send("model.x", MESSAGE, to_front=True)
    assert queue.waiting("model.x") == {MESSAGE.name}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_lease_works(redis, server, name):
    server.client.flushall()
    FOREIGN[name](server.client, "batchchat:lease:a")
    leases = RedisLeases(redis, "one", 10)
    assert leases.held(["a"]) == set()
    leases.release("a")
    assert leases.acquire("a")
    FOREIGN[name](server.client.flushall() and server.client, "batchchat:lease:a")
    assert leases.renew("a")
    assert leases.held(["a"]) == {"a"}


def test_a_flush_is_detected(put, redis, server):
    put("batchchat:server")
    leases = RedisLeases(redis, "one", 10)
    assert [leases.detect_flush() for _ in range(2)] == [True, False]
    server.client.flushall()
    assert leases.detect_flush()


def test_batches_are_announced(put, redis):
    put("batchchat:announced")
    announcements = Announcements(redis)
    found = [announcements.is_new() for _ in range(3)]
    assert found in ([False] * 3, [True, False, False])
    Announcements(redis).announce()
    assert [announcements.is_new() for _ in range(2)] == [True, False]


def test_workers_are_listed(put, redis):
    put("batchchat:worker:a")
    put("batchchat:worker:w")
    board = RedisStatusBoard(redis)
    assert board.workers() == []
    board.publish(WORKER, {})
    assert board.workers() == [WORKER]


def test_progress_is_read(put, redis):
    put("batchchat:running:batch_1")
    board = RedisStatusBoard(redis)
    for _ in range(2):  # the first may only delete what is foreign
        board.publish(WORKER, {("batch_1", "00002"): PROGRESS})
    assert set(board.shard_progress("batch_1")) == {2}
    put("batchchat:running:batch_2")
    assert board.shard_progress("batch_2") == {}


def test_a_stop_request_stops_only_what_it_names(put, redis, request):
    put("batchchat:stop:batch_1")
    board = RedisStatusBoard(redis)
    expected = {"batch_1": 3.0} if "expiring number" in request.node.name else {}
    assert board.stop_requests(["batch_1"]) == expected
    board.request_stop("batch_1", 2.5)
    assert board.stop_requests(["batch_1"]) == {"batch_1": 2.5}
