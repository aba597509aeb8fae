"""Sends a webhook to an address of the open internet, and to no other.

A project's own URL must not make the server talk to what only the server can reach.
So every address of the host is looked at, the one that was looked at is the one that
is called, redirects are not followed, and no proxy is asked.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import anyio
import httpx

from batchchat.jobs.errors import BatchchatError

_MAX_PORT = 65_535

_TIMEOUT_SECONDS = 10.0
"""For which a receiver is waited for in all, however it drips."""


_NAT64_NETWORK = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as an IPv6 network's translator takes them (RFC 6052)."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TUNNEL_NETWORKS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
"""6to4 and Teredo, which lead to the IPv4 address that they hold."""


class WebhookError(BatchchatError):
    """A webhook could not be sent at all."""

    code = "webhook_failed"


def safe_post(
    url: str, body: bytes, headers: dict[str, str], *, allow_private: bool
) -> int:
    """Send `body`; return the status of the answer, which is not read.

    `allow_private` lets it go to private addresses, and unencrypted.

    Raises:
        WebhookError: the URL is not allowed, or nobody answers there.

    """
    target = validate_url(url, allow_private=allow_private)
    host = target.raw_host.decode()
    address = host if allow_private else _public_address(target)
    pinned = target.copy_with(host=address)
    where = target.netloc.decode()
    asked = {**headers, "host": where, "user-agent": "batchchat-webhooks"}
    try:
        return anyio.run(_send, pinned, body, asked, host)
    except TimeoutError:
        message = (
            f"{target.host} took longer than {_TIMEOUT_SECONDS:g} seconds to answer"
        )
        raise WebhookError(message) from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise WebhookError(f"nobody answers at {target.host}: {reason}") from None


async def _send(url: httpx.URL, body: bytes, headers: dict[str, str], name: str) -> int:
    """Post to `url`, whose certificate is for `name`; return the answer's status.

    Asynchronous since only so can all of it have one deadline.
    """
    with anyio.fail_after(_TIMEOUT_SECONDS):
        async with (
            httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream(
                "POST",
                url,
                content=body,
                headers=headers,
                extensions={"sni_hostname": name},
            ) as answer,
        ):
            return answer.status_code


def validate_url(url: str, *, allow_private: bool) -> httpx.URL:
    """Return the URL of an endpoint. Raises `WebhookError` if it can't be one."""
    try:
        parsed = httpx.URL(url)
        host = parsed.host
    except (httpx.InvalidURL, ValueError) as error:
        raise WebhookError(f"this is no URL: {error}") from None
    schemes = {"https", "http"} if allow_private else {"https"}
    if parsed.scheme not in schemes or not host or parsed.userinfo:
        raise WebhookError("a webhook's URL begins with https:// and names a host")
    if (parsed.port or 0) > _MAX_PORT:
        raise WebhookError(f"there is no port {parsed.port}")
    return parsed


def _public_address(url: httpx.URL) -> str:
    try:
        host, port = url.raw_host.decode(), url.port or 443
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise WebhookError(f"there is no host `{url.host}`") from None
    addresses = [str(info[4][0]).partition("%")[0] for info in found]
    for address in addresses:
        if not _is_public(ip_address(address)):
            raise WebhookError(f"`{url.host}` is not on the open internet")
    return addresses[0]


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inside = address.ipv4_mapped
        if address in _NAT64_NETWORK:
            inside = IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return _is_public(inside)
        if address not in _GLOBAL_UNICAST or any(
            address in one for one in _TUNNEL_NETWORKS
        ):
            return False
    return address.is_global and not address.is_multicast
