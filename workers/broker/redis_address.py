"""The address of Redis, as `BATCHCHAT_BROKER` gives it: one server, or Sentinels.

::

    redis://[[user]:password@]host[:6379][/database][?option=value…]
    rediss://…                                       the same over TLS
    sentinel://[[user]:password@]host[:26379],…/master[/database][?option=value…]

The options are those of redis-py's connections, such as `ssl_ca_certs`. For
Sentinels, `ssl=true` selects TLS, `sentinel_username` and `sentinel_password` are the
credentials of the Sentinels themselves, and user and password those of Redis.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from redis import ConnectionPool, Redis, SSLConnection
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from batchchat.jobs.errors import ConfigError
from batchchat.workers.broker.redis_handshake import DiscreetHandshake

SOCKET_OPTIONS = {
    # Without these, a connection whose other end disappeared stays open for ever.
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

_SCHEMES = ("redis", "rediss", "sentinel")
_REDIS_PORT, _SENTINEL_PORT = 6379, 26379
_HINT = "use a URL such as `redis://host:6379/0`"
_ENCODE_HINT = (
    "percent-encode the special characters of the password: `/` is `%2F`, `?` is `%3F`,"
    " `#` is `%23`, `@` is `%40`"
)
_UNKNOWN_OPTION = re.compile(r"unexpected keyword argument '(\w+)'")
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:,;@\[\]]+)"
_HOSTS = re.compile(rf"{_HOST}(?::\d{{1,5}})?(?:,{_HOST}(?::\d{{1,5}})?)*")


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is. Its text and its `repr` do not contain the credentials."""

    text: str
    sentinels: tuple[tuple[str, int], ...]
    master: str
    options: dict[str, Any] = field(repr=False)
    sentinel_options: dict[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Parse a URL. Raises `ConfigError`, whose text has no part of the password."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in _SCHEMES:
            raise _invalid("not a Redis URL")
        authority, tail = _split_authority(rest)
        credentials, _, hosts = authority.rpartition("@")
        if not _HOSTS.fullmatch(hosts):
            raise _invalid("it must name a host, and a port that is a number", hosts)
        is_sentinel = scheme == "sentinel"
        if "," in hosts and not is_sentinel:
            raise _invalid("several hosts need `sentinel://`")
        path, _, query = tail.partition("?")
        master, path = _split_master(path) if is_sentinel else ("", path)
        if not re.fullmatch(r"/?\d*", path):
            raise _invalid("the database after the host must be a number")
        first = hosts.partition(",")[0]
        options = _parse_options(f"{credentials}@{first}{path}", query, scheme)
        sentinel_options = _pop_sentinel_options(options) if is_sentinel else {}
        text = f"{scheme}://{hosts}{f'/{master}' if master else ''}{path}"
        sentinels = _split_hosts(hosts) if is_sentinel else ()
        address = cls(text, sentinels, master, options, sentinel_options)
        address.check()
        return address

    @property
    def is_tls(self) -> bool:
        """Whether its connections use TLS."""
        return issubclass(
            self.options.get("connection_class", Connection), SSLConnection
        )

    @property
    def endpoints(self) -> tuple[tuple[str, int], ...]:
        """The hosts and ports that it names."""
        port = self.options.get("port", _REDIS_PORT)
        return self.sentinels or ((self.options["host"], port),)

    def check(self) -> None:
        """Raise `ConfigError` if redis-py does not accept the options."""
        try:
            self.pool().make_connection()
        except (TypeError, ValueError, RedisError, OSError) as error:
            unknown = _UNKNOWN_OPTION.search(str(error))
            problem = f"unknown option `{unknown[1]}`" if unknown else str(error)
            raise ConfigError(f"BATCHCHAT_BROKER: {problem}", hint=_HINT) from None

    def pool(self, mixin: type | None = None, **options: Any) -> ConnectionPool:
        """Return a pool of connections, made on first use; `mixin` adds to their class.

        With Sentinels, each new connection asks them where the master is.
        """
        options = {**SOCKET_OPTIONS, **self.options, **options}
        base = options.pop("connection_class", Connection)
        if self.sentinels:
            base = (
                SentinelManagedSSLConnection
                if self.is_tls
                else SentinelManagedConnection
            )
        bases = (*([mixin] if mixin else []), DiscreetHandshake, base)
        options["connection_class"] = type(base.__name__, bases, {})
        if not self.sentinels:
            return ConnectionPool(**options)
        return SentinelConnectionPool(self.master, self._manager(), **options)

    def client(self) -> Any:
        """Return a client; it connects on first use."""
        pool = self.pool(decode_responses=True, encoding_errors="replace")
        return Redis.from_pool(pool)

    def _manager(self) -> Any:
        tls = {name: v for name, v in self.options.items() if name.startswith("ssl_")}
        # A connection to Redis is attempted several times, and asks them each time.
        once = {"retry": Retry(NoBackoff(), 0)}
        options = {**SOCKET_OPTIONS, **once, **tls, **self.sentinel_options}
        if self.is_tls:
            options["ssl"] = True
        return Sentinel(self.sentinels, sentinel_kwargs=options)


def _invalid(problem: str, hosts: str = "") -> ConfigError:
    is_listed = ";" in hosts
    hint = "separate the hosts of Sentinels with commas" if is_listed else _HINT
    return ConfigError(f"BATCHCHAT_BROKER: {problem}", hint=hint)


def _split_authority(rest: str) -> tuple[str, str]:
    """Split off what precedes the path. Raises `ConfigError`."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    if "@" in tail or "#" in tail:
        raise ConfigError(
            "BATCHCHAT_BROKER: the URL has a `@` or a `#` after its host",
            hint=_ENCODE_HINT,
        )
    return authority, tail


def _split_master(path: str) -> tuple[str, str]:
    """Split the name of the master from the database."""
    master, _, database = path.strip("/").partition("/")
    if not master:
        raise ConfigError(
            "BATCHCHAT_BROKER: the name of the Sentinels' master is missing",
            hint="use a URL such as `sentinel://host1:26379,host2:26379/mymaster`",
        )
    return master, f"/{database}" if database else ""


def _split_hosts(hosts: str) -> tuple[tuple[str, int], ...]:
    parts = [urlsplit(f"//{host}") for host in hosts.split(",")]
    return tuple((part.hostname or "", part.port or _SENTINEL_PORT) for part in parts)


def _parse_options(target: str, query: str, scheme: str) -> dict[str, Any]:
    """Return the arguments of redis-py's connections. Raises `ConfigError`."""
    try:
        options = dict(parse_url(f"redis://{target}?{query}"))
    except ValueError as error:  # it names an option, or the port
        raise ConfigError(f"BATCHCHAT_BROKER: {error}", hint=_HINT) from None
    is_tls = options.pop("ssl", "false") == "true" or scheme == "rediss"
    if is_tls:
        options["connection_class"] = SSLConnection
        is_verified = options.get("ssl_cert_reqs", "required") == "required"
        # Celery's default is to verify nothing, and redis-py's depends on its version.
        options.setdefault("ssl_cert_reqs", "required")
        options.setdefault("ssl_check_hostname", is_verified)
    return options


def _pop_sentinel_options(options: dict[str, Any]) -> dict[str, Any]:
    """Separate the credentials of the Sentinels from those of Redis."""
    options.pop("host", None)
    options.pop("port", None)
    found = {name: options.pop(f"sentinel_{name}", None) for name in _CREDENTIALS}
    return {name: value for name, value in found.items() if value is not None}


_CREDENTIALS = ("username", "password")
