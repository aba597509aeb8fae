"""What the commands that stay up have in common."""

import logging
import sys
import warnings

from jobs.errors import UsageError
from jobs.settings import Settings


def broker_of(settings: Settings) -> str:
    """Return where the cluster's Redis is. Raises `UsageError` where none is set."""
    if settings.broker is None:
        raise UsageError(
            "BATCHCHAT_BROKER is not set, so there is no cluster to belong to",
            hint="set it to a Redis, such as `redis://localhost:6379/0`",
        )
    return settings.broker


def log_to_stderr() -> None:
    """Have a line a fact on stderr; requests and answers are never among them."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    for name in ("botocore", "celery", "kombu"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Celery warns of a default that our early acknowledgement makes meaningless, and
    # of root, which is nobody in particular in a container.
    warnings.filterwarnings("ignore", module="celery")
