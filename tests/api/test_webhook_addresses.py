"""Webhooks are sent to public addresses only."""

import httpx
import pytest

from batchchat.api.webhooks.safe_post import (
    WebhookError,
    _public_address,
    safe_post,
    validate_url,
)
from batchchat.jobs.webhooks.events import make_event

PRIVATE_HOSTS = [
    "127.0.0.1",
    "localhost",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104 - it must be rejected
    "[::1]",
    "[fd00::1]",
    "[fe80::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "224.0.0.1",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a00:1]",
    "[64:ff9b:1::808:808]",
    "[2002:7f00:1::]",
    "[2001:0:808:808::1]",
    "[::7f00:1]",
    "2130706433",
    "0x7f000001",
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_private_addresses_are_rejected(host):
    sample = make_event("batch.failed", f"batch_{'0' * 32}", 1_795_279_972)
    with pytest.raises(WebhookError, match=r"private address|cannot resolve"):
        safe_post(f"https://{host}:8443/x", sample.body, {}, allow_private=False)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_accepted(host):
    shown = f"[{host}]" if ":" in host else host
    assert _public_address(httpx.URL(f"https://{shown}/")) == host


def test_a_url_must_be_https_without_credentials():
    wrong = ("http://example.com", "https://u:p@example.com", "https://", "x")
    for url in (*wrong, "https://xn--/", "https://example.com:70000"):
        with pytest.raises(WebhookError):
            validate_url(url, allow_private=False)
    assert validate_url("https://example.com/x", allow_private=False) == httpx.URL(
        "https://example.com/x"
    )


def test_an_internationalized_host_is_accepted():
    with pytest.raises(WebhookError, match="cannot reach bücher"):
        safe_post("http://bücher.invalid/", b"{}", {}, allow_private=True)


def test_a_slow_receiver_times_out(slow_receiver, monkeypatch):
    monkeypatch.setattr("batchchat.api.webhooks.safe_post._TIMEOUT_SECONDS", 0.3)
    with pytest.raises(WebhookError, match="did not respond within"):
        safe_post(slow_receiver.url, b"{}", {}, allow_private=True)
