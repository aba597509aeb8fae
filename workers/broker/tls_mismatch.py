"""Finds out whether a Redis speaks TLS, when no connection as configured succeeds.

Neither side of such a connection reports the cause: Redis waits for the end of what it
takes for a command, and a TLS server closes the connection.
"""

import socket
import ssl

from batchchat.jobs.errors import ConfigError
from batchchat.workers.broker.redis_address import RedisAddress

_SECONDS = 3.0
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}
"""Reasons of OpenSSL for a reply that is not of TLS."""


def check_tls(address: RedisAddress) -> None:
    """Raise `ConfigError` if a server speaks TLS and the address does not, or reverse.

    Sends no credentials.
    """
    for host, port in address.endpoints:
        found = _speaks_tls(host, port)
        if found is not None and found != address.is_tls:
            raise _error(address, f"{host}:{port}", is_tls=found)


def _error(address: RedisAddress, server: str, *, is_tls: bool) -> ConfigError:
    if address.sentinels:
        option = "add the option `ssl=true`" if is_tls else "remove the option `ssl`"
    else:
        option = f"begin it with `{'rediss' if is_tls else 'redis'}://`"
    problem = "speaks TLS only" if is_tls else "does not speak TLS"
    text = f"BATCHCHAT_BROKER: the server at {server} {problem}"
    return ConfigError(text, hint=f"{option}, or use its other port")


def _speaks_tls(host: str, port: int) -> bool | None:
    """Return whether a server speaks TLS; None if that is not clear."""
    if _replies_without_tls(host, port):
        return False
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _connected(host, port) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        if not error.reason:  # it closed the connection
            return None
        return error.reason not in _NO_TLS
    except OSError:
        return None


def _replies_without_tls(host: str, port: int) -> bool:
    try:
        with _connected(host, port) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(1) in {b"+", b"-"}
    except OSError:
        return False


def _connected(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), _SECONDS)
