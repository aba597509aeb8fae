"""A cluster on this machine: Redis, a bucket behind a proxy, installed commands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.storage.s3.storage import S3Storage
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.status_board import RedisStatusBoard
from tests.chaos.load import Account, account_of, stored_lines
from tests.chaos.process import READY, Process, in_folder
from tests.support.child import dies_with_tests
from tests.support.servers.redis_server import RedisServer, redis_server
from tests.support.servers.s3_server import BUCKET, PLAIN, S3Server, credentials
from tests.support.servers.tcp_proxy import FaultyS3Proxy, running
from tests.support.wait import wait_until

COMMAND = Path(sys.executable).with_name("batchchat")
CATALOG = Path(__file__).with_name("catalog.toml")
PROJECT = "default"
LEASES = "batchchat:lease:"
EXPORTS = f"s3://{BUCKET}/exports"
"""Where results may be delivered to."""

_GONE = 60.0
PATIENCE_SECONDS = 300.0
_NONE: Mapping[str, str] = MappingProxyType({})

T = TypeVar("T")


def until(seen: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first true value of `seen`; wait long, since engines load slowly."""
    return wait_until(seen, what, seconds=seconds)


@dataclass
class Cluster:
    """Starts and stops its parts, and looks at what they do."""

    folder: Path
    redis: RedisServer
    server: S3Server
    proxy: FaultyS3Proxy
    settings: dict[str, str]
    model: str = "demo"
    processes: list[Process] = field(default_factory=list)
    prefix: str = field(default_factory=lambda: uuid4().hex)

    @property
    def ledger(self) -> Ledger:
        """The ledger in the bucket, without the proxy in between."""
        with credentials(self.server.key, self.server.secret):
            endpoint = f"http://127.0.0.1:{self.server.port}"
            return Ledger(S3Storage(BUCKET, self.prefix, endpoint=endpoint), PROJECT)

    def controller(self, **settings: str) -> Process:
        """Start a controller."""
        return self._start("controller", ["controller"], settings)

    def worker(self, **settings: str) -> Process:
        """Start a worker under its supervisor."""
        return self._start("worker", ["worker", "--model", self.model], settings)

    def start_workers(self, workers: int = 2) -> None:
        """Start a controller and workers until `workers` of them are ready."""
        if not self.alive("controller"):
            self.controller()
        for _ in range(workers - len(self.alive("worker"))):
            self.worker()
        for worker in self.alive("worker"):
            until(lambda w=worker: w.is_ready, "a worker that is ready")  # type: ignore[misc]

    def alive(self, kind: str) -> list[Process]:
        """Return the processes of a kind that run."""
        mine = (p for p in self.processes if p.name.startswith(kind))
        return [process for process in mine if process.popen.poll() is None]

    def wait_until_ready(self, worker: Process, times: int = 1) -> None:
        """Wait until a worker has loaded its engine `times` times."""
        until(
            lambda: worker.count_in_log(READY) >= times,
            worker.log.read_text(),
        )

    def run(self, *arguments: str | Path) -> str:
        """Run a command to its end; return its stdout."""
        done = subprocess.run(
            [COMMAND, *arguments],
            env=self._environment({}),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, data: bytes, *options: str) -> str:
        """Submit a file; return the id of the batch."""
        file = self.folder / "requests.jsonl"
        file.write_bytes(data)
        usual = ["--model", self.model, "--seed", "1", "--no-wait"]
        return self.run("submit", file, *usual, *options).strip()

    def state(self, batch_id: str) -> State:
        """Return the state of a batch."""
        return self.ledger.state(batch_id)

    def wait_until_committed(self, batch_id: str, shards: int) -> None:
        """Wait until `shards` shards are committed, or the batch has ended."""
        ledger = self.ledger

        def are_committed() -> bool:
            state = ledger.state(batch_id)
            return state.is_terminal or len(state.commits) >= shards

        until(are_committed, f"{shards} commits")

    def read(self, url: str) -> bytes:
        """Return an object that was delivered to the bucket."""
        key = url.removeprefix(f"s3://{BUCKET}/")
        found = self.server.client.get_object(Bucket=BUCKET, Key=key)
        data: bytes = found["Body"].read()
        return data

    def leases(self) -> dict[str, str]:
        """Return the owners of leased shards by the name of the lease."""
        client: Any = self.redis.client
        names = sorted(client.keys(f"{LEASES}*/*/[0-9]*"))
        owners = client.mget(names) if names else []
        return {n: o for n, o in zip(names, owners, strict=True) if o}

    def wait_until_taken_over(
        self, before: dict[str, str], began: float
    ) -> dict[str, float]:
        """Wait until the shards of the dead worker have another owner than `before`.

        Returns the seconds since `began` by lease, without shards that their owner
        keeps or has finished; nothing if the dead worker had finished all of its
        shards.
        """
        ledger = self.ledger
        found: dict[str, float] = {}

        def is_committed(name: str) -> bool:
            message = WorkMessage(*name.removeprefix(LEASES).split("/"))
            keys = ledger.keys.batch(message.batch_id)
            return ledger.commit(keys, message.shard) is not None

        def look() -> bool:
            now = self.leases()
            for name, owner in before.items():
                if now.get(name, owner) != owner:
                    found.setdefault(name, time.monotonic() - began)
            dead = {before[name] for name in found} or {*before.values()}
            theirs = {name for name, owner in before.items() if owner in dead}
            return all(map(is_committed, theirs - found.keys()))

        until(look, f"no lease of {before} was taken over")
        return found

    @contextmanager
    def unfinished_batch(self, data: bytes) -> Iterator[str]:
        """Submit a file whose batch can't end within the block.

        The commit of its last shard is refused until then.
        """
        with self.proxy.full_for("/commits/"):
            batch_id = self.submit(data)
            until(lambda: self.state(batch_id).plan, "a plan")
            last = len(self.state(batch_id).require_plan().shards) - 1
            with self.proxy.full_for(self.ledger.keys.batch(batch_id).commit(last)):
                yield batch_id
                assert last in self.state(batch_id).pending(), "it ended too soon"

    def has_results(self, batch_id: str) -> bool:
        """Return whether any result of a batch is stored."""
        ledger = self.ledger
        entries = ledger.storage.list(f"{ledger.keys.batch(batch_id).top}/shards/")
        return any(entry.key.endswith(".jsonl") for entry in entries)

    def count_lost_work(self, before: dict[str, str]) -> dict[str, int]:
        """Return how many requests of each leased shard have to be run again.

        They were in the engine, or finished and not yet stored, at their worker's last
        report, about a second ago.
        """
        ledger, status_board = self.ledger, RedisStatusBoard(self.redis.client)
        again = {}
        for name in before:
            message = WorkMessage(*name.removeprefix(LEASES).split("/"))
            told = status_board.shard_progress(message.batch_id).get(message.shard)
            stored = set(stored_lines(ledger, message.batch_id, message.shard))
            done = told.counts.completed + told.counts.failed if told else 0
            begun = done + (told.in_flight if told else 0)
            again[name] = max(0, begun - len(stored))
        return again

    def wait_for_end(self, batch_id: str, seconds: float = PATIENCE_SECONDS) -> Account:
        """Wait until a batch has ended and left the index; return its account."""
        ledger = self.ledger
        until(lambda: ledger.state(batch_id).is_terminal, "the batch's end", seconds)
        until(
            lambda: (PROJECT, batch_id) not in list(ActiveIndex(ledger.storage)),
            "the batch's leaving the index",
        )
        return account_of(ledger, batch_id)

    def close(self) -> None:
        """End all processes in order; fail if one that they started is left."""
        for process in self.processes:
            process.popen.terminate()
        for process in self.processes:
            try:
                process.popen.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        until(lambda: not in_folder(self.folder), "the end of all processes", _GONE)

    def log_summary(self) -> dict[str, Any]:
        """Return the number of lines and tracebacks in the logs."""
        texts = [process.log.read_text() for process in self.processes]
        return {
            "lines": sum(text.count("\n") for text in texts),
            "tracebacks": sum(text.count("Traceback") for text in texts),
        }

    def _start(
        self, kind: str, arguments: list[str], settings: Mapping[str, str]
    ) -> Process:
        name = f"{kind}-{len(self.processes)}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as talk:
            popen = subprocess.Popen(
                [COMMAND, *arguments],
                env=self._environment(settings),
                cwd=self.folder,
                stdout=talk,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_tests(signal.SIGTERM),  # noqa: PLW1509
            )
        self.processes.append(Process(name, popen, log))
        return self.processes[-1]

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return a clean environment; names in capitals are taken as they are."""
        theirs = ("AWS_", "BATCHCHAT_", "XDG_", "PYTHON")
        kept = {n: it for n, it in os.environ.items() if not n.startswith(theirs)}
        ours = {
            "STORAGE": f"s3://{BUCKET}/{self.prefix}",
            "S3_ENDPOINT": f"http://127.0.0.1:{self.proxy.port}",
            "BROKER": self.redis.url,
            "CONFIG": str(CATALOG),
            "OUTPUT_PREFIXES": EXPORTS,
            **self.settings,
        }
        given = {
            n if n.isupper() else f"BATCHCHAT_{n.upper()}": it
            for n, it in settings.items()
        }
        return {
            **kept,
            **PLAIN,
            "AWS_ACCESS_KEY_ID": self.server.key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret,
            "OMP_NUM_THREADS": "1",  # two workers share two cores
            "XDG_DATA_HOME": str(self.folder / "data"),
            **{f"BATCHCHAT_{name}": it for name, it in ours.items()},
            **given,
        }


@contextmanager
def cluster(
    folder: Path, server: S3Server, rate: float | None = None, **settings: str
) -> Iterator[Cluster]:
    """Run Redis, and a proxy before the bucket; end everything at the end.

    With a `rate`, in tokens per second, the workers generate random text without vLLM.
    """
    place = folder / "place"
    place.mkdir(parents=True)
    redis_folder = folder / "redis"
    redis_folder.mkdir()
    usual = {"SHARD_REQUESTS": "200", "ENGINE_PROCESS": "in_process"}
    own = usual | {name.upper(): it for name, it in settings.items()}
    if rate is not None:
        own["SIMULATED_TOKENS_PER_SECOND"] = str(rate)
    with (
        redis_server(redis_folder) as redis,
        running(FaultyS3Proxy(server.port)) as proxy,
    ):
        one = Cluster(place, redis, server, proxy, own)
        try:
            yield one
        finally:
            one.close()
