"""The common part of the commands that keep running."""

import logging
import sys
import warnings

from batchchat.jobs.errors import StorageAccessError, StorageError, UsageError
from batchchat.jobs.logs import start_logging
from batchchat.jobs.settings import Settings, unknown_settings
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.probe import probe

_log = logging.getLogger(__name__)


def require_broker(settings: Settings) -> str:
    """Return the URL of the cluster's Redis.

    Raises:
        UsageError: none is set.
        ConfigError: it is not a valid Redis URL, or Redis rejects the password.

    """
    if settings.broker is None:
        raise UsageError(
            "BATCHCHAT_BROKER is not set, but this command needs a cluster's Redis",
            hint="set it, for example with"
            " `export BATCHCHAT_BROKER=redis://localhost:6379/0`",
        )
    from batchchat.workers.broker.redis_client import check_login

    check_login(settings.broker)
    return settings.broker


def check_storage(storage: Storage) -> None:
    """Log a warning if the storage does not work, which may be temporary.

    Raises:
        StorageAccessError: this process may not use it.

    """
    try:
        probe(storage)
    except StorageAccessError:
        raise
    except StorageError as error:
        _log.warning("storage: %s", error.message)


def log_unknown_settings() -> None:
    """Log a warning for each name in the environment and file that is no setting."""
    for text in unknown_settings():
        _log.warning("%s", text)


def log_to_stderr(engine: int | None = None) -> None:
    """Log to stderr, as text to a terminal and as JSON lines otherwise.

    Lines have the number of the `engine` of this process, if it is one of several.
    """
    start_logging(sys.stderr, as_json=not sys.stderr.isatty(), engine=engine)
    # Celery warns of a default that has no effect with early acknowledgement, and of
    # running as root, which is usual in containers.
    warnings.filterwarnings("ignore", module="celery")
