"""What an engine's process holds is released when it dies, whatever it called last."""

import threading
from multiprocessing import AuthenticationError
from typing import Any

import pytest

from batchchat.jobs.errors import StorageError
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.local.engine_calls import Caller, CallServer, portable
from batchchat.workers.local.engine_session import EngineReport, EngineSession
from batchchat.workers.local.in_process_broker import InProcessBroker
from tests.support.wait import wait_until

QUEUE = "model.m"
SHARDS = [WorkMessage.for_shard("default", "batch_1", number) for number in range(3)]


@pytest.fixture
def broker():
    broker = InProcessBroker()
    for message in SHARDS:
        broker.send(QUEUE, message)
    return broker


@pytest.fixture
def make(broker):
    """Make sessions of one broker."""

    def make(seen=None):
        note = (seen if seen is not None else []).append
        return EngineSession(
            broker,
            on_failure=note,
            on_unusable=note,
            on_loaded=note,
            on_low_queue=lambda: None,
            on_notice=note,
        )

    return make


def names(broker):
    return broker.held([message.name for message in SHARDS])


def test_engines_take_different_shards_from_one_queue(make):
    one, other = make(), make()
    taken = [it.receive(QUEUE, 0.0) for it in (one, other, one)]
    assert taken == SHARDS
    assert other.receive(QUEUE, 0.0) is None
    assert one.acquire(SHARDS[0].name)
    assert not other.acquire(SHARDS[0].name)


def test_the_end_of_one_releases_only_what_it_held(make, broker):
    one, other = make(), make()
    for session in (one, other):
        message = session.receive(QUEUE, 0.0)
        assert session.acquire(message.name)
    one.end()
    assert names(broker) == {SHARDS[1].name}
    other.release(SHARDS[1].name)
    other.finish(SHARDS[1])
    assert names(broker) == set()


def test_a_call_that_outlives_its_process_holds_nothing(make, broker):
    session = make()
    for _ in SHARDS:
        broker.finish(session.receive(QUEUE, 0.0))
    taken = []
    late = threading.Thread(target=lambda: taken.append(session.receive(QUEUE, 60)))
    late.start()
    session.end()
    broker.send(QUEUE, SHARDS[0])
    late.join(60)
    assert taken == [None]
    assert not session.acquire(SHARDS[0].name)
    assert names(broker) == set()


def test_calls_return_and_raise_what_the_method_does(make):
    seen: list[Any] = []
    session = make(seen)
    server = CallServer({7: session}.__getitem__)
    caller = Caller(server.address, 7)
    call = caller.call
    assert call("receive", QUEUE, 0.0) == SHARDS[0]
    assert call("report", EngineReport(notices=("hello",))).is_closing is False
    session.close(2.5)
    assert call("report", EngineReport()) == (True, 2.5)
    call("fail", StorageError("no room", hint="free some"))
    assert seen[0] == "hello"
    assert (seen[1].message, seen[1].hint) == ("no room", "free some")
    with pytest.raises(AttributeError):
        call("no_such_method")
    caller.close()
    server.close()


def test_a_waiting_call_does_not_delay_others(make, broker):
    session = make()
    server = CallServer({7: session}.__getitem__)
    caller = Caller(server.address, 7)
    call = caller.call
    for _ in SHARDS:
        call("receive", QUEUE, 0.0)
    taken = []
    late = threading.Thread(target=lambda: taken.append(call("receive", QUEUE, 60)))
    late.start()
    assert call("waiting", QUEUE) == set()
    broker.send(QUEUE, SHARDS[0])
    wait_until(lambda: taken == [SHARDS[0]])
    late.join()
    caller.close()
    server.close()


def test_a_caller_without_the_key_is_refused(make):
    server = CallServer({7: make()}.__getitem__)
    stranger = server.address._replace(key=b"guess")
    with pytest.raises(AuthenticationError):
        Caller(stranger, 7).call("waiting", QUEUE)
    known = Caller(server.address, 7)
    assert known.call("waiting", QUEUE)
    known.close()
    server.close()


def test_an_error_that_cannot_be_sent_is_described():
    class OddError(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} {two}")

    assert str(portable(OddError("no", "way"))) == "OddError: no way"
    plain = ValueError("x")
    assert portable(plain) is plain


def test_an_engine_gets_no_more_than_its_share(broker):
    limits = [1, 1, None]
    session = EngineSession(
        broker,
        on_failure=print,
        on_unusable=print,
        on_loaded=print,
        on_low_queue=lambda: None,
        on_notice=print,
        max_shards=lambda: limits.pop(0),
    )
    received = [session.receive(QUEUE, 0.0) for _ in range(3)]
    assert received == [SHARDS[0], None, SHARDS[1]]
