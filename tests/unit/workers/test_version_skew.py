"""Values in Redis that another version wrote are skipped and never stop a process."""

import json
from typing import Any

import msgspec
import pytest

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.broker.celery_app import CeleryQueue, Consumer, make_app
from batchchat.workers.broker.messages import CONTROL, WorkMessage
from batchchat.workers.broker.status_board import (
    RedisStatusBoard,
    ShardProgress,
    WorkerStatus,
)
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.local.runner_process import RunnerProcess
from batchchat.workers.shards.shard_host import ShardHost
from tests.support.ended import Hand, bare
from tests.support.memory_broker import memory_environment
from tests.support.running import ECHO, SETTINGS, renderer
from tests.unit.workers.test_dispatcher import QUEUE, Desk

GARBAGE = ["", "no JSON", "{", "null", "3", "[]", "{}", '"text"', '{"headers": 3}']
UNKNOWN_NAMES = ["p/b/embed", "p/b/00001/gpu", "v2/p/b/00001", "p/b/", "a", ""]
WORKER = WorkerStatus(
    id="w", queue="q", model="m", host="h", since=1, tokens_per_second=2, shards=["s"]
)
PROGRESS = ShardProgress(Counts(4, 3, 1), Usage(10, 2, 7), at=1_000.0)


def newer(value):
    """Return the JSON of a newer version, which has more fields on each level."""
    fields = msgspec.to_builtins(value)
    for field in fields.values():
        if isinstance(field, dict) and field:  # an empty one is a mapping, no object
            field["added"] = [1, {"a": None}]
    return json.dumps(fields | {"added": {"format": 99}})


class FakeRedis:
    """Returns values that were put in by hand."""

    def __init__(self, values=(), fields=None, messages=()):
        self.values = list(values)
        self.fields = fields or {}
        self.messages = list(messages)

    def scan_iter(self, **_):
        return [str(number) for number in range(len(self.values))]

    def register_script(self, _script):
        return lambda keys: self.values[: len(keys)]

    def hgetall(self, _key):
        return self.fields

    def lrange(self, *_):
        return self.messages

    def time(self):
        return 1_010, 0


def envelope(name):
    return json.dumps({"headers": {"id": name, "added": 1}, "added": 2})


def test_unknown_fields_of_a_worker_are_ignored():
    board = RedisStatusBoard(FakeRedis([newer(WORKER)]))
    assert board.workers() == [WORKER]


def test_workers_that_cannot_be_decoded_are_skipped_and_logged_once(caplog):
    fewer = json.dumps({"id": "w"})
    board = RedisStatusBoard(FakeRedis([*GARBAGE, fewer, newer(WORKER)]))
    assert board.workers() == board.workers() == [WORKER]
    assert len(caplog.messages) == 1


def test_unknown_fields_of_a_shards_progress_are_ignored():
    board = RedisStatusBoard(FakeRedis(fields={"00002": newer(PROGRESS)}))
    assert board.shard_progress("batch_1") == {2: PROGRESS}


def test_progress_that_cannot_be_decoded_is_skipped(caplog):
    garbage = {f"{number:05d}": text for number, text in enumerate(GARBAGE)}
    fields = garbage | {"gpu-1": newer(PROGRESS), "00099": newer(PROGRESS)}
    board = RedisStatusBoard(FakeRedis(fields=fields))
    assert board.shard_progress("batch_1") == {99: PROGRESS}
    assert len(caplog.messages) == 2  # one of the numbers, one of the values


@pytest.mark.parametrize("text", ["soon", "{}", "-5", "nan", "2.5 seconds"])
def test_a_stop_request_that_cannot_be_decoded_stops_nothing(text):
    board = RedisStatusBoard(FakeRedis([text, "2.5"]))
    assert board.stop_requests(["batch_1", "batch_2"]) == {"batch_2": 2.5}


@pytest.mark.parametrize("name", [*UNKNOWN_NAMES, None, 3, ["p/b/00001"]])
def test_a_name_of_unknown_work_is_no_message(name):
    assert WorkMessage.parse(name) is None


def test_messages_that_cannot_be_read_are_not_seen_in_a_queue(caplog):
    unknown = [envelope(name) for name in [*UNKNOWN_NAMES, None, 3]]
    redis = FakeRedis(messages=[*GARBAGE, *unknown, envelope("p/b/00001")])
    queue = CeleryQueue(None, redis)
    assert queue.waiting("q") == queue.waiting("q") == {"p/b/00001"}
    assert len(caplog.messages) == 1


def test_a_consumer_drops_unknown_messages_and_keeps_its_room():
    taken: list[WorkMessage] = []
    app = make_app("redis://host")
    consumer = Consumer(app, "q", taken.append, threads=1, has_room=lambda _: True)
    names = [[name] for name in UNKNOWN_NAMES]
    unknown: list[Any] = [[], ["a", "b"], [None], *names]
    for arguments in [*unknown, ["p/b/00001"]]:
        consumer._count_arrival()
        consumer._run_task(*arguments, added=1)
    assert taken == [WorkMessage("p", "b", "00001")]
    assert consumer._active == 0


def test_unknown_messages_do_not_stop_the_dispatcher():
    desk = Desk()
    for queue in (CONTROL, QUEUE):
        for name in UNKNOWN_NAMES:
            desk.queue.send(queue, WorkMessage("", "", name))
    batch_id = desk.submit(4)
    assert {message.batch_id for message in desk.sweep()} == {batch_id}


def test_a_worker_ignores_work_that_is_not_a_shard(caplog):
    engine = start_echo(renderer())
    hand = Hand()
    batch_id = hand.submit(bare("hi") + b"\n")
    host = ShardHost(memory_environment(hand.storage, SETTINGS), ECHO, engine)
    for work in ("plan", "embed", "-1"):
        host.run(WorkMessage("default", batch_id, work))
    engine.close()
    assert not caplog.records


@pytest.mark.parametrize("shards", [3, {"0": 3}, {"x": {}}, {"0": {"counts": []}}])
def test_a_runner_status_that_cannot_be_decoded_adds_no_progress(shards):
    hand = Hand()
    state = hand.ledger.state(hand.submit(bare("hi") + b"\n"))
    runner = RunnerProcess(as_json=False)
    runner.status = {"running": {state.batch.id: shards}}
    assert runner.with_progress(state) is state
