"""Every connection to Redis verifies its certificate before it sends a password."""

import pytest

from batchchat.jobs.errors import BrokerError, ConfigError
from batchchat.workers.broker.celery_app import CeleryQueue, make_app
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_address import SOCKET_OPTIONS
from batchchat.workers.broker.redis_client import check_login, open_redis, redis_errors
from tests.integration.consumers import QUEUE, consumer_process
from tests.support.servers.redis_server import free_port
from tests.support.servers.tls_redis import tls_redis
from tests.support.wait import wait_until

pytestmark = pytest.mark.server
PASSWORD = "correct-horse"
LOGIN = f":{PASSWORD}@"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with tls_redis(tmp_path_factory.mktemp("redis")) as one:
        one.server.client.config_set("requirepass", PASSWORD)
        yield one


@pytest.fixture
def untrusted(redis):
    """A URL without the CA; the password must not have been sent at the end."""
    redis.received.clear()
    yield redis.url(login=LOGIN)
    assert not redis.received


def test_a_client_that_knows_the_ca_works(redis, tmp_path):
    url = redis.url(redis.trusted, LOGIN)
    check_login(url)
    with consumer_process(url, tmp_path) as consumer:
        assert consumer.takes_message(url)


def test_no_client_talks_to_a_server_with_an_unknown_ca(untrusted):
    queue = CeleryQueue(make_app(untrusted), open_redis(untrusted))
    message = WorkMessage.for_shard("p", "batch_1", 0)
    for call in (lambda: queue.send(QUEUE, message), lambda: queue.waiting(QUEUE)):
        with pytest.raises(BrokerError, match="CERTIFICATE_VERIFY_FAILED") as failed:
            call()
        assert "ssl_ca_certs" in (failed.value.hint or "")
    with pytest.raises(ConfigError, match="CERTIFICATE_VERIFY_FAILED") as invalid:
        check_login(untrusted)
    assert "ssl_ca_certs" in (invalid.value.hint or "")


def test_a_consumer_does_not_talk_to_a_server_with_an_unknown_ca(untrusted, tmp_path):
    with consumer_process(untrusted, tmp_path) as consumer:
        wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in consumer.log.read_text())


def test_the_name_in_the_certificate_is_verified(redis):
    redis.received.clear()
    url = redis.url(redis.trusted, LOGIN).replace("127.0.0.1", "localhost")
    with pytest.raises(BrokerError, match="CERTIFICATE_VERIFY_FAILED"), redis_errors():
        open_redis(url).ping()
    assert not redis.received


@pytest.mark.parametrize(
    "url",
    [
        "rediss://{login}127.0.0.1:{plain}/0",
        "sentinel://{login}127.0.0.1:{plain}/mymaster?ssl=true",
    ],
)
def test_tls_with_a_server_without_it_is_reported(redis, url, monkeypatch):
    monkeypatch.setitem(SOCKET_OPTIONS, "socket_timeout", 1)
    place = url.format(login=LOGIN, plain=redis.server.port)
    with pytest.raises(ConfigError, match="does not speak TLS") as invalid:
        check_login(place)
    assert str(redis.server.port) in invalid.value.message


@pytest.mark.parametrize(
    "url", ["redis://{login}127.0.0.1:{tls}/0", "sentinel://127.0.0.1:{tls}/mymaster"]
)
def test_a_server_with_tls_only_is_reported(redis, url):
    redis.received.clear()
    with pytest.raises(ConfigError, match="speaks TLS only") as invalid:
        check_login(url.format(login=LOGIN, tls=redis.port))
    assert ("rediss:" if url[0] == "r" else "ssl=true") in (invalid.value.hint or "")
    assert not redis.received


def test_a_server_that_is_not_there_may_come_later():
    for scheme in ("redis", "rediss"):
        check_login(f"{scheme}://127.0.0.1:{free_port()}/0")


def test_verification_can_be_switched_off(redis):
    with redis_errors():
        assert open_redis(redis.url("?ssl_cert_reqs=none", LOGIN)).ping()
