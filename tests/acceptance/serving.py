"""A real server without a runner: the tests end its batches themselves."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from batchchat.jobs.requests.schema import Request
from batchchat.jobs.storage import open_storage
from tests.acceptance.command import Done, Place, Running
from tests.support.ended import Answer, Hand, echo

_CATALOG = """\
[models.m]
source = "m"
price = { input = 0.050001, output = 0.1, date = "2026-11-21" }
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Serving:
    """`batchchat serve` in a place; `place.run` uses its storage directly."""

    place: Place
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=_free_port)

    def __post_init__(self) -> None:
        config = self.place.file("catalog.toml", _CATALOG.encode())
        self.place.environment["BATCHCHAT_CONFIG"] = str(config)
        self.settings |= {"broker": "redis://127.0.0.1:1", "retry_timeout_seconds": 20}

    @property
    def hand(self) -> Hand:
        """The helper that plans, runs and ends batches."""
        return Hand(open_storage(str(self.place.storage)))

    def start(self, **how: Any) -> Running:
        """Start it, and wait until it listens."""
        command = ["serve", "--port", self.port]
        running = self.place.start(*map(str, command), settings=self.settings, **how)
        running.until_it_says("listening on")
        return running

    def client(self, *arguments: Any, port: int | None = None, **how: Any) -> Running:
        """Start the command as the server's client."""
        url = f"http://127.0.0.1:{port or self.port}"
        settings = {"url": url} | how.pop("settings", {})
        return self.place.start(*arguments, settings=settings, **how)

    def ask(self, *arguments: Any, **how: Any) -> Done:
        """Run the command as the server's client."""
        return self.client(*arguments, **how).end()

    def end_batch(
        self, batch_id: str, answer: Callable[[Request], Answer] = echo
    ) -> None:
        """Plan, run and end a batch."""
        self.hand.make_plan(batch_id)
        self.hand.run(batch_id, answer)
        self.hand.finalize(batch_id)

    def files(self) -> list[dict[str, Any]]:
        """Return the files that the API lists."""
        return self._listed("files")

    def batches(self) -> list[dict[str, Any]]:
        """Return the batches that the API lists."""
        return self._listed("batches")

    def _listed(self, what: str) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.port}/v1/{what}"
        data: list[dict[str, Any]] = httpx.get(url).json()["data"]
        return data


@contextmanager
def serving(place: Place, **settings: Any) -> Iterator[Serving]:
    """Serve in a place."""
    server = Serving(place, settings)
    server.start()
    yield server


def batch_id_of(running: Running) -> str:
    """Return the id that a `submit` prints, once it has printed it."""
    return running.until(
        lambda: _found(running.out.read_text() + running.err.read_text())
    )


def json_lines(data: bytes) -> list[Any]:
    """Return the decoded lines."""
    return [json.loads(line) for line in data.splitlines()]


def _found(text: str) -> str:
    match = re.search(r"batch_[0-9a-f]{32}(?=\n)", text)
    return match.group() if match else ""
