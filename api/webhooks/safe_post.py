"""Posts webhooks to public internet addresses only (protection against SSRF).

A URL chosen by a user must not make the server call internal services. So every address
of the host must be public, the request goes to an address that was checked (the host is
not resolved again), redirects are not followed, and proxy settings are ignored.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import anyio
import httpx

from batchchat.jobs.errors import BatchchatError

_MAX_PORT = 65_535

_TIMEOUT_SECONDS = 10.0
"""Total time for a request, however slowly the receiver responds."""


_NAT64_NETWORK = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that NAT64 translates to the IPv4 address they embed (RFC 6052)."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TUNNEL_NETWORKS = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
"""6to4 and Teredo, which lead to the IPv4 address they embed."""


class WebhookError(BatchchatError):
    """A webhook could not be sent."""

    code = "webhook_failed"
    default_hint = "check the URL of the webhook endpoint"


def safe_post(
    url: str, body: bytes, headers: dict[str, str], *, allow_private: bool
) -> int:
    """Post `body` and return the status code of the response.

    `allow_private` permits private addresses and plain HTTP.

    Raises:
        WebhookError: the URL is not allowed, or there was no response in time.

    """
    target = validate_url(url, allow_private=allow_private)
    host = target.raw_host.decode()
    address = host if allow_private else _public_address(target)
    pinned = target.copy_with(host=address)
    where = target.netloc.decode()
    all_headers = {**headers, "host": where, "user-agent": "batchchat-webhooks"}
    try:
        return anyio.run(_send, pinned, body, all_headers, host)
    except TimeoutError:
        message = f"{target.host} did not respond within {_TIMEOUT_SECONDS:g} s"
        raise WebhookError(message) from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise WebhookError(f"cannot reach {target.host}: {reason}") from None


async def _send(url: httpx.URL, body: bytes, headers: dict[str, str], name: str) -> int:
    """Post to `url`, whose certificate is for `name`; return the status code.

    It is asynchronous because httpx's synchronous timeouts cannot bound the total time.
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
            ) as response,
        ):
            return response.status_code


def validate_url(url: str, *, allow_private: bool) -> httpx.URL:
    """Return the parsed URL. Raises `WebhookError` if it is not allowed."""
    try:
        parsed = httpx.URL(url)
        host = parsed.host
    except (httpx.InvalidURL, ValueError) as error:
        raise WebhookError(f"not a valid URL: {error}") from None
    schemes = {"https", "http"} if allow_private else {"https"}
    if parsed.scheme not in schemes or not host or parsed.userinfo:
        raise WebhookError(
            "expected an https:// URL with a host and without credentials"
        )
    if (parsed.port or 0) > _MAX_PORT:
        raise WebhookError(f"port {parsed.port} is out of range")
    return parsed


def _public_address(url: httpx.URL) -> str:
    try:
        host, port = url.raw_host.decode(), url.port or 443
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise WebhookError(f"cannot resolve `{url.host}`") from None
    addresses = [str(info[4][0]).partition("%")[0] for info in infos]
    for address in addresses:
        if not _is_public(ip_address(address)):
            raise WebhookError(f"`{url.host}` resolves to a private address")
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
