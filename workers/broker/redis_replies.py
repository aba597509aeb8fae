"""Says what Redis replied, and what to do about it."""

import re
import ssl

from redis.exceptions import AuthenticationError, ResponseError
from redis.sentinel import MasterNotFoundError

from batchchat.jobs.errors import BrokerError

_MEMORY_HINT = (
    "raise `maxmemory`, or free memory; batchchat itself needs only megabytes"
)
_REPLICA_HINT = (
    "wait for the failover to end; if it has, set BATCHCHAT_BROKER to the new master,"
    " or to the Sentinels"
)
_HINTS = {
    "BUSY": "end the script with `SCRIPT KILL`",
    "CLUSTERDOWN": "use a Redis that is not in cluster mode",
    "CROSSSLOT": "use a Redis that is not in cluster mode",
    "LOADING": "wait until it has loaded its data",
    "MASTERDOWN": _REPLICA_HINT,
    "MISCONF": "see the log of Redis: it cannot write its snapshots",
    "MOVED": "use a Redis that is not in cluster mode",
    "NOAUTH": "add the password to BATCHCHAT_BROKER: `redis://:PASSWORD@host:6379/0`",
    "NOPERM": "give its Redis user the permissions that `docs/redis.md` lists",
    "NOREPLICAS": "start the replicas, or lower `min-replicas-to-write`",
    "OOM": _MEMORY_HINT,
    "READONLY": _REPLICA_HINT,
    "WRONGPASS": "check the user and the password in BATCHCHAT_BROKER",
}
_CODE = re.compile(r"([A-Z]+)(?: |$)")
_CODES_BY_CLASS = {
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
}
"""The classes whose errors redis-py strips of their code."""


def explain(error: BaseException) -> BrokerError:
    """Return the error to report for an error of Redis or of Celery's connection."""
    chain = list(_causes(error))
    cause = next((one for one in chain if _code(one)), chain[-1])
    code, text = _code(cause), str(cause)
    if code is not None:
        said = text if text.startswith(code) else f"{code} {text}"
        hint = _HINTS.get(code, "see the log of Redis")
        return BrokerError(f"Redis replied: {said}", hint=hint)
    if is_untrusted(error):
        return BrokerError(
            f"Redis is not available: {text}",
            hint="name the CA of its certificate:"
            " `rediss://host:6379/0?ssl_ca_certs=/path/to/ca.pem`",
        )
    hint = "check that it is running and that BATCHCHAT_BROKER is correct"
    if isinstance(cause, MasterNotFoundError):
        hint = "check that the Sentinels run, and the name of the master at the end"
    return BrokerError(f"Redis is not available: {text}", hint=hint)


def is_untrusted(error: BaseException) -> bool:
    """Return whether its certificate is not valid, or the server speaks no TLS."""
    found = (one for cause in _causes(error) for one in (cause, cause.__context__))
    return any(isinstance(one, ssl.SSLError) for one in found)


def is_permanent(error: BaseException) -> bool:
    """Return whether only another BATCHCHAT_BROKER can help."""
    is_rejected = any(isinstance(one, AuthenticationError) for one in _causes(error))
    return is_rejected or is_untrusted(error)


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what caused it: kombu wraps the errors of redis-py."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain


def _code(error: BaseException) -> str | None:
    """Return the code of an error reply; None for any other error."""
    names = [kind.__name__ for kind in type(error).__mro__]
    known = next((_CODES_BY_CLASS[n] for n in names if n in _CODES_BY_CLASS), None)
    found = getattr(error, "status_code", None) or known
    if found is None and isinstance(error, ResponseError):
        match = _CODE.match(str(error))
        found = match[1] if match else "ERR"
    return found
