"""The client validates BATCHCHAT_URL and BATCHCHAT_API_KEY, and limits its retries."""

import pytest

from batchchat.cli.client.http_client import ServerClient
from batchchat.cli.client.retry import RetryBudget
from batchchat.jobs.errors import ConfigError, ServerError

URL = "http://host/v1"


@pytest.mark.parametrize(
    "url", ["http://host", "http://host/", "http://host/v1", "http://host/v1/"]
)
def test_url_may_end_with_v1(url):
    server = ServerClient(url, None)
    assert (server.root, server.url) == ("http://host", "http://host/v1")


@pytest.mark.parametrize("url", ["http://[::1", "http://-x-.é", "http://xn--"])
def test_invalid_url_is_a_config_error(url):
    with pytest.raises(ConfigError, match="BATCHCHAT_URL"):
        ServerClient(url, None)


def test_password_in_the_url_is_rejected_and_not_shown():
    with pytest.raises(ConfigError, match="BATCHCHAT_URL") as raised:
        ServerClient("http://me:secret@host", None)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "ключ"])
def test_invalid_key_is_a_config_error(key):
    with pytest.raises(ConfigError, match="BATCHCHAT_API_KEY"):
        ServerClient(URL, key)


def test_empty_retry_budget_raises_the_first_error():
    error = ServerError("no")
    with pytest.raises(ServerError) as caught:
        RetryBudget(0).wait(error)
    assert caught.value is error


def test_retry_after_beyond_the_budget_raises():
    with pytest.raises(ServerError):
        RetryBudget(5).wait(ServerError("busy", retry_after=60))
