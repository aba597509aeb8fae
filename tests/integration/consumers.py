"""Celery's consumer in a process of its own, as a worker's is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, cast

from batchchat.workers.broker.celery_app import CeleryQueue, make_app
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from tests.support.child import dies_with_tests

_SCRIPT = Path(__file__).with_name("consuming.py")
_ROOT = _SCRIPT.parent.parent.parent
_NUMBERS = count()
QUEUE = "q"


@dataclass
class ConsumerProcess:
    """A consumer of the queue `q` that prints the names of its messages."""

    process: subprocess.Popen[str]
    log: Path

    def next_name(self) -> str:
        """Return the name of the next message that it takes."""
        return cast("IO[str]", self.process.stdout).readline().strip()

    def takes_message(self, url: str) -> bool:
        """Send a message through the Redis at `url`; return whether it is taken."""
        queue = CeleryQueue(make_app(url), open_redis(url))
        message = WorkMessage.for_shard("p", "batch_1", next(_NUMBERS))
        queue.send(QUEUE, message)
        return self.next_name() == message.name


@contextmanager
def consumer_process(url: str, folder: Path) -> Iterator[ConsumerProcess]:
    """Run a consumer on the Redis at `url`."""
    log = folder / "consumer.log"
    with (
        log.open("wb") as stream,
        subprocess.Popen(
            [sys.executable, _SCRIPT],
            cwd=_ROOT,
            env={"PYTHONPATH": str(_ROOT), "BATCHCHAT_BROKER": url},
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            preexec_fn=dies_with_tests(),  # noqa: PLW1509
        ) as process,
    ):
        try:
            yield ConsumerProcess(process, log)
        finally:
            process.terminate()
