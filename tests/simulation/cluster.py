"""A simulated cluster: controllers, workers, users, and an operator."""

import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.files.reused_batches import with_reused_batches
from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import cancel_batch, create_batch
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.settings import Settings
from batchchat.workers.control.main import run_controller
from batchchat.workers.shards.worker_process import Worker
from tests.simulation.broker import Redis
from tests.simulation.bucket import Bucket, BucketClient
from tests.simulation.engines import SimulatedEngine
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.inputs import as_rows, input_file
from tests.simulation.patches import WINDOW
from tests.simulation.virtual_time import Process, VirtualWorld

SETTINGS = Settings(
    storage="",
    model_cache="",
    shard_requests=4,
    checkpoint_seconds=0.7,
    grace_seconds=2,
    retry_timeout_seconds=6,
    lease_seconds=8,
    controller_interval_seconds=2,
    stall_seconds=20,
)
MODEL = Model(name="echo", source="echo", context_length=512)
HOUR = 3600.0
_REUSE = 0.5
"""The share of clusters with a user who reuses the answers of earlier batches."""

_REUSED = re.compile(r".*/batch_\w+/(answer_index|reuse/\w+)")
_RECORD = re.compile(r"(?P<batch>.*/batch_\w+)/(plan|cancel|commits/\d+)\.json")
RENDERER = PromptRenderer(
    ChatTemplate("{{ messages[-1].content }}", {}),
    lambda text: list(text.encode()),
    512,
)


class _Registry(RendererRegistry):
    def get(self, _model: str | Model) -> PromptRenderer:
        return RENDERER


RENDERERS = _Registry(Catalog({"echo": MODEL}), Path())


class Cluster:
    """All processes of the cluster, and the faults that affect them."""

    def __init__(self, world: VirtualWorld, faults: FaultProfile) -> None:
        """Draw the properties of the cluster."""
        rng = world.rng
        self.world = world
        self.faults = faults
        self.bucket = Bucket(world, atomic=not self.faults.races and rng.random() < 0.6)
        self.redis = Redis(world, self.faults)
        self.bucket_client = BucketClient(world, self.bucket, self.faults)
        self.faults_until = rng.uniform(10, 60)
        self.window = rng.randint(5, 60)
        self.projects = ["default", "other"]
        self.deaths_alone: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.users_left = 0
        self._closed = False
        self._operator = Process("operator", mortal=False)
        self._running: dict[str, Process] = {}
        self._kills_process = rng.random() < 0.3

    def start(self) -> None:
        """Start all processes, users and faults."""
        rng = self.world.rng
        for number in range(2 if self.faults.races else rng.randint(1, 2)):
            self._keep_up(f"controller {number}", self._control)
        for number in range(3 if self.faults.races else rng.randint(1, 3)):
            self._keep_up(f"worker {number}", self._work)
        for number in range(rng.choice([1, 1, 2, 3])):
            self.users_left += 1
            self._operate(self._use, number)
        if self.world.rng.random() < _REUSE:
            self.users_left += 1
            self._operate(self._use, 9, ("auto",))
        for kind in (self._kill, self._freeze, self._term):
            self._operate(kind)
        self._operate(self._flush)
        self._operate(self._evict)
        for which, rate in (("redis", "redis_goes"), ("bucket", "store_goes")):
            self._operate(self._take_away, which, rate)
        self._operate(self._fill)
        self._operate(self._deny)
        self._operate(self._damage)
        self._operate(self._end_faults)

    def close(self) -> None:
        """Terminate all processes, and restart none."""
        self._closed = True
        for process in list(self._running.values()):
            self._terminate(process)

    def watch(self, until: float) -> None:
        """Advance the clock to `until`, even if no process runs."""
        self._operate(self.world.sleep, until - self.world.now + 0.001)

    @property
    def is_empty(self) -> bool:
        """Whether no process runs."""
        return not self._running

    @property
    def is_idle(self) -> bool:
        """Whether all users are done and the index has no batch."""
        if self.users_left or self.world.now < self.faults_until:
            return False
        return not any(self._exists(key) for key in self.bucket.keys("active/"))

    def _exists(self, entry: str) -> bool:
        _, project, batch_id = entry.split("/")
        return self.bucket.has(f"projects/{project}/batches/{batch_id}/batch.json")

    def _operate(self, function: Callable[..., object], *arguments: object) -> None:
        self.world.spawn(self._operator, function, *arguments)

    # --- processes ------------------------------------------------------------

    def _keep_up(self, name: str, main: Callable[[Process], int]) -> None:
        """Run a process, and restart it whenever it ends."""
        rng = self.world.rng
        skew = rng.choice([0.0, 0.0, HOUR, -HOUR]) if main == self._work else 0.0

        def supervise() -> None:
            while not self._closed:
                process = Process(name, skew=skew)
                self._running[name] = process
                self._run(process, main)
                self.world.wait_for(process)
                del self._running[name]
                self.world.sleep(rng.uniform(0.5, 2))

        self._operate(supervise)

    def _run(self, process: Process, main: Callable[[Process], object]) -> None:
        def live() -> None:
            main(process)
            self.world.bury(process)

        self.world.spawn(process, live)

    def _control(self, _process: Process) -> int:
        return run_controller(self.bucket_client, SETTINGS, "redis://", RENDERERS)

    def _work(self, process: Process) -> int:
        self.world.sleep(self.world.rng.uniform(0, 2))  # the engine is loaded
        workers: list[Worker] = []

        def note() -> None:
            self._note_death(workers)

        engine = SimulatedEngine(
            self.world,
            self.faults,
            RENDERER,
            kills_process=self._kills_process,
            on_death=note,
        )
        process.on_death.append(note)
        workers.append(Worker(self.bucket_client, SETTINGS, "redis://", MODEL, engine))  # type: ignore[arg-type]
        return workers[0].run()

    def _note_death(self, workers: list[Worker]) -> None:
        """Record which request was alone in an engine that died."""
        for worker in workers:
            for message, one in worker._host.attempts.items().items():
                if one.attempt and len(one.attempt._isolated_lines) == 1:
                    key = (message.batch_id, one.attempt._isolated_lines[0])
                    self.deaths_alone[key].add(one.attempt.id)

    # --- users ----------------------------------------------------------------

    def _use(self, number: int, reuse: tuple[str, ...] = ()) -> None:
        """Submit a batch and perhaps cancel it; retry on errors."""
        rng = self.world.rng
        self.world.sleep(rng.uniform(0, 10) * number)
        data, rows = as_rows(input_file(self.world))
        options = BatchOptions(
            model="echo",
            seed=1,
            on_invalid=rng.choice(["skip", "openai", "skip", "fail"]),
            completion_window=rng.choice(["24h", "24h", WINDOW]),
            priority=rng.choice(["low", "normal", "high"]),
            rows=rows,
            reuse=reuse,
        )
        project = rng.choice(self.projects)
        submitted: list[str] = []

        def submit() -> None:
            ledger = Ledger(self.bucket_client, project, self.world.wall)
            batch_id = new_batch_id()
            with suppress(BatchchatError):
                file = store_file(ledger, [data], "input.jsonl")
                chosen = with_reused_batches(ledger, options, batch_id, "echo")
                batch = create_batch(
                    ledger, file, chosen, enqueue=True, batch_id=batch_id
                )
                self.redis.announced += 1
                submitted.append(batch.id)

        self._retry(submit, lambda: bool(submitted))
        if rng.random() < (0.6 if self.faults.races else 0.25):
            self.world.sleep(rng.uniform(0, 30))
            asked: list[str] = []

            def cancel() -> None:
                ledger = Ledger(self.bucket_client, project, self.world.wall)
                with suppress(BatchchatError):
                    cancel_batch(ledger, submitted[0])
                    asked.append(submitted[0])

            self._retry(cancel, lambda: bool(asked), tries=3)
        self.users_left -= 1

    def _retry(
        self, act: Callable[[], object], done: Callable[[], bool], tries: int = 1000
    ) -> None:
        for _ in range(tries):
            process = Process("user")
            self._run(process, lambda _: act())
            self.world.wait_for(process)
            if done():
                return
            self.world.sleep(1)

    # --- faults ---------------------------------------------------------------

    def _now_and_then(self, rate: str) -> bool:
        """Wait for the next fault of a kind; return False if there is none."""
        per_second = getattr(self.faults, rate)
        if per_second <= 0:
            return False
        self.world.sleep(self.world.rng.expovariate(per_second))
        return self.world.now < self.faults_until

    def _victim(self) -> Process | None:
        processes = sorted(self._running.items())
        return self.world.rng.choice(processes)[1] if processes else None

    def _kill(self) -> None:
        while self._now_and_then("kills"):
            if victim := self._victim():
                self.world.kill(victim)

    def _freeze(self) -> None:
        while self._now_and_then("freezes"):
            if victim := self._victim():
                long = 3 * SETTINGS.lease_seconds * self.world.rng.random()
                victim.frozen_until = min(self.world.now + long, self.faults_until)

    def _term(self) -> None:
        while self._now_and_then("terms"):
            if victim := self._victim():
                self._terminate(victim)

    def _terminate(self, process: Process) -> None:
        """Send SIGTERM, which ends a process that has no handler yet."""
        if process.on_term:
            for handler in process.on_term:
                self.world.spawn(process, handler)
        else:
            self.world.kill(process)

    def _flush(self) -> None:
        while self._now_and_then("flushes"):
            self.redis.flush()

    def _evict(self) -> None:
        while self._now_and_then("evictions"):
            if leases := sorted(self.redis.leases):
                del self.redis.leases[self.world.rng.choice(leases)]

    def _take_away(self, which: str, rate: str) -> None:
        while self._now_and_then(rate):
            server = getattr(self, which)
            server.away = True
            self.world.sleep(30 * self.world.rng.random() ** 2)
            server.away = False
            if which == "redis":
                self.redis.flush()

    def _fill(self) -> None:
        while self._now_and_then("store_fills"):
            self.bucket.full = True
            self.world.sleep(20 * self.world.rng.random())
            self.bucket.full = False

    def _deny(self) -> None:
        """Deny a process the bucket, and those that are started in its place."""
        while self._now_and_then("store_denies"):
            if victim := self._victim():
                until = self.world.now + 30 * self.world.rng.random()
                self.bucket.denied_until[victim.name] = until

    def _damage(self) -> None:
        """Truncate a record of an unfinished batch, or what others reuse of it."""
        while self._now_and_then("damages"):
            records = [
                key for key in self.bucket.keys("projects/") if self._is_needed(key)
            ]
            if records:
                key = self.world.rng.choice(records)
                size = self.bucket.size(key)
                self.bucket.tear(key, self.world.rng.randrange(size) if size else 0)

    def _is_needed(self, key: str) -> bool:
        """Return whether a batch needs this record."""
        if _REUSED.fullmatch(key):
            return True
        found = _RECORD.fullmatch(key)
        if found is None or self.bucket.has(f"{found['batch']}/final.json"):
            return False
        refused = b'"shards":[]'  # a rejected batch has ended
        return refused not in self.bucket.history[key][-1][1]

    def _end_faults(self) -> None:
        self.world.sleep(self.faults_until)
        self.faults.end_faults()
        self.bucket.full = self.bucket.away = self.redis.away = False
        self.bucket.denied_until.clear()
