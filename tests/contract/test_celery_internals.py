"""The parts of Celery, kombu and redis-py that are not public but relied on.

If a test fails after an upgrade, read the changed code, adapt
`workers/broker/celery_app.py` or `celery_transport.py`, run
`tests/integration/test_redis_replies.py` and the chaos tests, and only then raise the
bounds in `pyproject.toml` and `TESTED` below.
"""

import inspect
import json
from importlib.metadata import version

import celery.apps.worker
import celery.worker.consumer.consumer
import celery.worker.consumer.tasks
import celery.worker.state
import pytest
from celery.exceptions import WorkerShutdown
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.connection import AbstractConnection

from batchchat.workers.broker.celery_app import CeleryQueue, make_app, stop_worker
from batchchat.workers.broker.celery_transport import RedisChannel, RedisTransport
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from tests.support.servers.redis_server import redis_server

TESTED = {"celery": {"5.6", "5.7"}, "kombu": {"5.6", "5.7"}, "redis": {"8.1"}}
ADVICE = f"see the docstring of {__name__}"


@pytest.mark.parametrize("package", TESTED)
def test_the_installed_version_was_tested(package):
    minor = ".".join(version(package).split(".")[:2])
    assert minor in TESTED[package], f"{package} {minor} is untested: {ADVICE}"


def test_a_worker_stops_with_the_exit_status_that_is_set(monkeypatch):
    monkeypatch.setattr(celery.worker.state, "should_stop", None)
    stop_worker(70)
    with pytest.raises(WorkerShutdown) as stopped:
        celery.worker.state.maybe_shutdown()
    assert stopped.value.args == (70,), ADVICE


def test_the_shutdown_message_is_printed_by_a_function_that_can_be_replaced():
    source = inspect.getsource(celery.apps.worker)
    assert "def safe_say(" in source, ADVICE
    assert "safe_say(f'worker: {how} shutdown" in source, ADVICE


def test_the_transport_asks_the_channel_before_it_takes_a_message():
    poller = inspect.getsource(kombu_redis.MultiChannelPoller)
    assert "channel.qos.can_consume()" in poller, ADVICE
    assert "chan.qos.can_consume()" in poller, ADVICE


def test_the_question_to_the_channel_can_be_replaced_on_an_instance():
    tasks = inspect.getsource(celery.worker.consumer.tasks)
    assert "channel_qos.can_consume = " in tasks, ADVICE  # Celery does it, too
    assert not hasattr(kombu_redis.QoS, "__slots__"), ADVICE


@pytest.mark.server
def test_a_queue_is_a_redis_list_from_whose_right_end_messages_are_taken(tmp_path):
    with redis_server(tmp_path) as server:
        redis = open_redis(server.url)
        queue = CeleryQueue(make_app(server.url), redis)
        messages = [WorkMessage.for_shard("p", "batch_1", shard) for shard in range(2)]
        for message in messages:
            queue.send("model.x", message)
        envelopes = map(json.loads, redis.lrange("batchchat:model.x", 0, -1))
        names = [envelope["headers"]["id"] for envelope in envelopes]
    assert names == [message.name for message in reversed(messages)], ADVICE
    assert "BRPOP" in inspect.getsource(kombu_redis.Channel._brpop_start), ADVICE


@pytest.mark.server
def test_celery_uses_the_transport_and_its_keys_are_lists(tmp_path):
    with redis_server(tmp_path) as server:
        redis = open_redis(server.url)
        app = make_app(server.url)
        with app.connection_for_write() as connection:
            channel = connection.default_channel
            assert isinstance(channel, RedisChannel), ADVICE
            assert isinstance(connection.transport, RedisTransport), ADVICE
            assert channel.priority_steps == [0], ADVICE
        CeleryQueue(app, redis).send("q", WorkMessage("p", "batch_1", "plan"))
        assert {key: redis.type(key) for key in redis.scan_iter()} == {
            "batchchat:q": "list"
        }, ADVICE


def test_the_methods_that_the_transport_overrides_are_the_ones_that_kombu_calls():
    channel = inspect.getsource(kombu_redis.Channel)
    for call in (
        "handlers = {'BRPOP': self._brpop_read",
        "self._get_pool(asynchronous=True)",
        "self.client.parse_response(self.client.connection",
        "self.connection._deliver(",
        "if channel._registered:",
        "channel._on_connection_disconnect(self)",
    ):
        assert call in channel, ADVICE
    source = inspect.getsource(virtual.Channel)
    assert "self._queue_bind(exchange" in source, ADVICE
    assert "return queue_declare_ok_t(queue, self._size(queue), 0)" in source, ADVICE
    consumer = inspect.getsource(celery.worker.consumer.consumer.Consumer)
    assert "except recoverable_errors as exc" in consumer, ADVICE
    assert "conn.ensure_connection(" in consumer, ADVICE
    assert "warn('%s (%r)', CONNECTION_RETRY, exc)" in consumer, ADVICE
    assert "error(CONNECTION_ERROR, conn.as_uri(), exc, next_step)" in consumer, ADVICE


def test_redis_py_authenticates_in_the_method_that_is_overridden():
    source = inspect.getsource(AbstractConnection.on_connect_check_health)
    assert '"HELLO"' in source, ADVICE
    assert '"AUTH"' in source, ADVICE
