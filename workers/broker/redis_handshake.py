"""Keeps credentials out of the errors of a connection's first commands."""

from typing import Any

from redis.exceptions import RedisError

_ECHO = ", with args beginning with"


class DiscreetHandshake:
    """A mixin of redis-py's connections.

    A server that does not know a command repeats its arguments in the error, and those
    of AUTH and HELLO are credentials. A contract test checks the method's name.
    """

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Authenticate; cut what an error repeats."""
        try:
            super().on_connect_check_health(*args, **kwargs)  # type: ignore[misc]
        except RedisError as error:
            error.args = tuple(str(arg).partition(_ECHO)[0] for arg in error.args)
            raise
