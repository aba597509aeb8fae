"""What Redis replied is named, with its code and what to do."""

import pytest
from kombu.exceptions import OperationalError
from redis._parsers.base import BaseParser
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from batchchat.jobs.errors import BrokerError
from batchchat.workers.broker.celery_transport import BrokerLink
from batchchat.workers.broker.redis_address import RedisAddress
from batchchat.workers.broker.redis_client import redis_errors
from batchchat.workers.broker.redis_handshake import DiscreetHandshake
from batchchat.workers.broker.redis_replies import explain

CODES = [
    "OOM",
    "READONLY",
    "NOPERM",
    "MISCONF",
    "LOADING",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "BUSY",
    "NOAUTH",
    "WRONGPASS",
    "UNBLOCKED",
]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_the_code_of_a_reply_is_named(code, is_wrapped):
    error = BaseParser.parse_error(f"{code} some words")
    if is_wrapped:
        wrapper = OperationalError("some words")
        wrapper.__cause__ = error
        error = wrapper
    found = explain(error)
    assert found.message == f"Redis replied: {code} some words"
    assert found.hint


def test_an_outage_is_no_reply():
    found = explain(RedisTimeoutError("Timeout connecting to server"))
    assert found.message == "Redis is not available: Timeout connecting to server"


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), TypeError("x")])
def test_an_invalid_reply_is_an_error_of_the_broker(error):
    with pytest.raises(BrokerError, match="invalid reply"), redis_errors():
        raise error


class Rejecting:
    """A connection to a server that does not know HELLO."""

    def on_connect_check_health(self):
        raise RedisError(
            "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'u' 'secret'"
        )


class Connection(DiscreetHandshake, Rejecting):
    pass


def test_a_server_that_repeats_the_password_does_not_reveal_it():
    with pytest.raises(RedisError) as failed:
        Connection().on_connect_check_health()
    assert str(failed.value) == "unknown command 'HELLO'"
    assert "secret" not in repr(failed.value.args)


@pytest.mark.parametrize("code", CODES)
def test_an_error_reply_is_no_silent_connection(code):
    """Only a silent connection makes an idle worker exit."""
    link = BrokerLink(RedisAddress.parse("redis://host"))
    error = BaseParser.parse_error(f"{code} some words")
    seen = []
    for event in (
        lambda: link.on_failure(error),
        link.on_reply,
        lambda: link.on_failure(KeyError("a fault of Celery")),
    ):
        event()
        seen.append(link.is_refused)
    assert seen == [True, False, False]
