"""A worker that has room for one message, and prints those that it is given."""

import logging
import os

from batchchat.workers.broker.celery_app import Consumer, make_app
from batchchat.workers.broker.messages import WorkMessage


def tell(message: WorkMessage) -> None:
    print(message.name, flush=True)  # noqa: T201 - the test reads it


logging.basicConfig(level=logging.INFO)
Consumer(
    make_app(os.environ["BATCHCHAT_BROKER"]),
    "q",
    tell,
    threads=2,
    has_room=lambda here: not here,
).consume()
