"""The URL of Redis is checked, and no error contains a part of its password."""

import pytest

from batchchat.jobs.errors import ConfigError
from batchchat.workers.broker.redis_address import RedisAddress

SENTINELS = "sentinel://u:p%2F1@a:1,b/mymaster/3?sentinel_password=x&ssl=true"
INVALID = {
    "http://host": "not a Redis URL",
    "host:6379": "not a Redis URL",
    "redis://": "must name a host",
    "redis://:secret": "must name a host",
    "redis://host:port": "must name a host",
    "redis://host:99999": "Port out of range",
    "redis://host/name": "must be a number",
    "redis://host?secret=1": "unknown option `secret`",
    "redis://host?ssl_ca_certs=/ca.pem": "unknown option `ssl_ca_certs`",
    "redis://host?socket_timeout=x": "socket_timeout",
    "rediss://host?ssl_cert_reqs=x": "Invalid SSL",
    "redis://a,b": "several hosts",
    "sentinel://a,b": "name of the Sentinels' master is missing",
    "sentinel://a;sentinel://b/mymaster": "must name a host",
    "redis://:se/cret@host": "after its host",
    "redis://:se?cret@host": "after its host",
    "redis://:se#cret@host": "after its host",
    "redis://:se@cret:x@host:1/x": "must be a number",
}


@pytest.mark.parametrize("url", INVALID)
def test_an_invalid_url_is_rejected(url):
    with pytest.raises(ConfigError, match=INVALID[url]) as failed:
        RedisAddress.parse(url)
    assert failed.value.hint
    assert "cret" not in failed.value.message.replace("unknown option `secret`", "")


@pytest.mark.parametrize("password", ["a@b", "a:b", "%", "a b", "ä", "a;b", "a,b"])
def test_many_passwords_need_no_encoding(password):
    address = RedisAddress.parse(f"redis://:{password}@host:1/2")
    assert address.options["password"] == password
    assert (address.text, "password" in repr(address)) == ("redis://host:1/2", False)


def test_certificates_are_verified_by_default():
    options = RedisAddress.parse("rediss://host").options
    assert options["ssl_cert_reqs"] == "required"
    assert options["ssl_check_hostname"] is True
    options = RedisAddress.parse("rediss://host?ssl_cert_reqs=none").options
    assert options["ssl_check_hostname"] is False


def test_sentinels_have_their_own_credentials():
    address = RedisAddress.parse(SENTINELS)
    assert address.sentinels == (("a", 1), ("b", 26379))
    assert (address.master, address.options["db"]) == ("mymaster", 3)
    assert address.options["username"], address.options["password"] == ("u", "p/1")
    assert address.sentinel_options == {"password": "x"}
    assert address.text == "sentinel://a:1,b/mymaster/3"
