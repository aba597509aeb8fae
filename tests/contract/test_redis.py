"""Leases, the status board and queues on a real Redis that is flushed at times."""

import json

import pytest

import batchchat.workers.broker.status_board
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import BrokerError
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.broker.celery_app import CeleryQueue, make_app
from batchchat.workers.broker.leases import RedisLeases
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import (
    STOP_REQUEST_SECONDS,
    RedisStatusBoard,
    ShardProgress,
    WorkerStatus,
)
from tests.support.servers.redis_server import redis_server
from tests.support.wait import wait_until

pytestmark = pytest.mark.server
SECONDS = 0.4


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis(server):
    server.client.flushall()
    return open_redis(server.url)


@pytest.fixture
def two(redis):
    return [RedisLeases(redis, owner, SECONDS) for owner in ("one", "two")]


def test_only_one_owner_holds_a_lease(two):
    assert [leases.acquire("a") for leases in two] == [True, False]
    assert two[1].held(["a", "b"]) == {"a"}


def test_a_lease_expires_unless_it_is_renewed(two):
    two[0].acquire("a")
    two[0].acquire("b")
    wait_until(lambda: two[0].renew("a") and two[0].held(["a", "b"]) == {"a"})
    assert two[1].acquire("b")


def test_a_lease_that_another_owner_acquired_is_lost(two):
    two[0].acquire("a")
    wait_until(lambda: two[1].acquire("a"))
    assert not two[0].renew("a")
    two[0].release("a")
    assert two[1].held(["a"]) == {"a"}


def test_a_lease_can_be_renewed_after_a_flush(two, server):
    two[0].acquire("a")
    server.client.flushall()
    assert two[0].renew("a")
    assert not two[1].acquire("a")


def test_every_owner_detects_a_flush(two, server):
    assert [leases.detect_flush() for leases in two] == [True, True]
    assert [leases.detect_flush() for leases in two] == [False, False]
    server.client.flushall()
    assert [leases.detect_flush() for leases in two] == [True, True]


def test_queued_messages_are_listed(server, redis):
    queue = CeleryQueue(make_app(server.url), redis)
    messages = [WorkMessage.for_shard("p", "batch_1", shard) for shard in range(3)]
    for message in messages:
        queue.send("model.x", message)
    assert queue.waiting("model.x") == {message.name for message in messages}
    assert queue.waiting("model.y") == set()


def test_a_published_status_is_read_back(redis):
    status_board = RedisStatusBoard(redis)
    worker = WorkerStatus(
        id="w",
        queue="model.x",
        model="x",
        host="h",
        since=1.0,
        tokens_per_second=5.0,
        shards=["p/batch_1/00002"],
    )
    running = ShardProgress(Counts(4, 3, 1), Usage(10, 2, 7))
    status_board.publish(worker, {("batch_1", "00002"): running})
    assert status_board.workers() == [worker]
    read = status_board.shard_progress("batch_1")[2]
    assert (read.counts, read.usage) == (running.counts, running.usage)
    status_board.remove("w")
    assert status_board.workers() == []


def test_a_message_sent_to_the_front_is_taken_first(redis, server):
    queue = CeleryQueue(make_app(server.url), redis)
    for shard, first in ((1, False), (2, False), (0, True)):
        queue.send(
            "model.x", WorkMessage.for_shard("p", "batch_1", shard), to_front=first
        )
    taken = [json.loads(redis.rpop("batchchat:model.x")) for _ in range(3)]
    assert [message["headers"]["id"][-1] for message in taken] == ["0", "1", "2"]


def test_old_progress_is_ignored_by_the_clock_of_redis(redis, monkeypatch):
    status_board = RedisStatusBoard(redis)
    worker = WorkerStatus(
        id="w", queue="", model="", host="", since=0, tokens_per_second=0, shards=[]
    )
    wrong_clock = ShardProgress(Counts(4, 3, 1), Usage(), at=1.0)
    status_board.publish(worker, {("batch_1", "00002"): wrong_clock})
    assert set(status_board.shard_progress("batch_1")) == {2}
    monkeypatch.setattr(batchchat.workers.broker.status_board, "_MAX_AGE_SECONDS", -1)
    assert status_board.shard_progress("batch_1") == {}


def test_a_stop_request_names_a_batch(redis):
    status_board = RedisStatusBoard(redis)
    status_board.request_stop("batch_1", 2.5)
    assert status_board.stop_requests(["batch_1", "batch_2"]) == {"batch_1": 2.5}
    assert status_board.stop_requests([]) == {}
    assert 0 < redis.ttl("batchchat:stop:batch_1") <= STOP_REQUEST_SECONDS


def test_an_unavailable_redis_raises_broker_errors(tmp_path):
    with redis_server(tmp_path) as server:
        redis = open_redis(server.url)
        queue = CeleryQueue(make_app(server.url), redis)
        leases = RedisLeases(redis, "one", SECONDS)
        leases.acquire("a")
        server.stop()
        for call in (
            lambda: leases.renew("a"),
            lambda: leases.held(["a"]),
            lambda: queue.waiting("q"),
            lambda: queue.send("q", WorkMessage("p", "b", "plan")),
        ):
            with pytest.raises(BrokerError, match="Redis is not available"):
                call()
        server.start()
        assert leases.acquire("a")
        queue.send("q", WorkMessage("p", "b", "plan"))
        assert queue.waiting("q") == {"p/b/plan"}
