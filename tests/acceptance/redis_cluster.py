"""A controller and a worker on a real Redis; the worker generates random text."""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.command import Done, Place, Running
from tests.acceptance.inputs import line
from tests.support.servers.redis_server import RedisServer
from tests.support.wait import wait_until

_TOKENS_PER_SECOND = 10
_REQUESTS_PER_SHARD = 20


@dataclass
class RedisCluster:
    """Its processes use the Redis at `url`; tests disturb `redis` beside them."""

    place: Place
    redis: RedisServer
    url: str
    processes: list[Running] = field(default_factory=list)

    def start(self, *options: str, engines: int = 1) -> None:
        """Start a controller and a worker, and wait until all report to Redis.

        `options` are those of the worker, which has that number of `engines`.
        """
        self.processes = [
            self._start("controller"),
            self._start("worker", "--model", "demo", *options),
        ]
        wait_until(lambda: len(self._reports()) == 1 + engines, seconds=120)

    def forget_reports(self) -> None:
        """Delete what the processes have reported, as its expiry does."""
        self.redis.client.delete(*self._reports())

    def submit(self, requests: int, tokens: int) -> str:
        """Submit a batch, each answer of which takes 0.1 s per token; return its id."""
        lines = (
            line(f"q-{number}", max_tokens=tokens, ignore_eos=True)
            for number in range(requests)
        )
        file = self.place.file("requests.jsonl", b"".join(lines))
        done = self.run("submit", file, "--model", "demo", "--no-wait")
        assert done.code == 0, done.err
        return done.out.decode().strip()

    def batch(self, batch_id: str) -> dict[str, Any]:
        """Return the Batch object of a batch."""
        shown: dict[str, Any] = json.loads(self.run("status", batch_id, "--json").out)
        return shown

    def wait_for(self, batch_id: str, status: str) -> None:
        """Wait until a batch has a status."""
        wait_until(lambda: self.batch(batch_id)["status"] == status, seconds=120)

    def run(self, *arguments: Any, **settings: Any) -> Done:
        """Run a command to its end."""
        return self.place.run(*arguments, settings=self._settings(settings))

    def logs(self) -> str:
        """Return what the controller and the worker have logged."""
        return "".join(process.err.read_text() for process in self.processes)

    def assert_undisturbed(self) -> None:
        """Check that each process still is the first one."""
        logs = self.logs()
        assert all(process.process.poll() is None for process in self.processes), logs
        assert logs.count("ready for shards") == 1, logs
        assert "restarting in" not in logs, logs
        assert "Traceback" not in logs, logs

    def _start(self, *arguments: str) -> Running:
        return self.place.start(*arguments, settings=self._settings({}))

    def _settings(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "broker": self.url,
            "simulated_tokens_per_second": _TOKENS_PER_SECOND,
            "shard_requests": _REQUESTS_PER_SHARD,
            "lease_seconds": 3,
            "controller_interval_seconds": 0.5,
            "grace_seconds": 1,
        } | given

    def _reports(self) -> list[str]:
        found: Any = self.redis.client.keys("batchchat:worker:*")
        return list(found)
