"""What the commands that stay up have in common."""

import sys
import warnings

from batchchat.jobs.errors import UsageError
from batchchat.jobs.logs import start_logging
from batchchat.jobs.settings import Settings


def broker_of(settings: Settings) -> str:
    """Return where the cluster's Redis is.

    Raises:
        UsageError: none is set.
        ConfigError: what is set is none.

    """
    if settings.broker is None:
        raise UsageError(
            "BATCHCHAT_BROKER is not set, so there is no cluster to belong to",
            hint="set it to a Redis, such as `redis://localhost:6379/0`",
        )
    from batchchat.workers.broker.redis_client import open_redis

    open_redis(settings.broker).close()
    return settings.broker


def log_to_stderr() -> None:
    """Have a line a fact on stderr; requests and answers are never among them."""
    start_logging(sys.stderr, as_json=not sys.stderr.isatty())
    # Celery warns of a default that our early acknowledgement makes meaningless, and
    # of root, which is nobody in particular in a container.
    warnings.filterwarnings("ignore", module="celery")
