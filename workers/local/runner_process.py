"""The local runner in a process of its own, so that an engine never slows a server.

On a CPU, the engine's core runs inside its process and holds the interpreter lock for
long; on a GPU, it may take its process down with it. The child process dies with its
parent, is restarted when it dies, and prints its status once a second as a JSON line.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import msgspec

from batchchat.jobs.backoff import Backoff
from batchchat.jobs.catalog.catalog import Catalog, load_catalog
from batchchat.jobs.ledger.state import State
from batchchat.jobs.logs import event_fields, start_logging
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.settings import Settings, data_folder, load_settings
from batchchat.jobs.storage import CachedStorage, Storage, open_storage
from batchchat.workers.broker.status_board import ShardProgress
from batchchat.workers.engine.engine_slots import Slots, gpus_needed, make_slots
from batchchat.workers.engine.log_file import EngineLog, engine_log_path
from batchchat.workers.engine.startup import start_engine
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.exit_codes import ENGINE_DEAD
from batchchat.workers.local.batch_lock import server_lock
from batchchat.workers.local.engine_launch import PoolConfig
from batchchat.workers.local.in_process_broker import InProcessBroker
from batchchat.workers.local.runner import LocalRunner
from batchchat.workers.process_lifetime import kill_with_parent

_logger = logging.getLogger(__name__)

_STATUS_SECONDS = 1.0
_BACKOFF = Backoff(first=1.0, longest=30.0)
_KILL_MARGIN_SECONDS = 30.0
"""Time that an orderly shutdown may take in addition to the grace period."""

_PARENT_OPTION = "--parent"
_ENGINES_OPTION = "--engines"

NO_STATUS: Mapping[str, Any] = MappingProxyType({})


class RunnerProcess:
    """Keeps a child process that runs batches, from a thread of its own."""

    def __init__(
        self,
        *,
        as_json: bool,
        engine: Mapping[str, Any] = MappingProxyType({}),
        engines: str = "1",
        gpus: str | None = None,
    ) -> None:
        """With `as_json`, the child logs JSON lines.

        The engine arguments in `engine` override the catalog's; `engines` and `gpus`
        override the settings.
        """
        self._engines = {"engine": dict(engine), "engines": engines, "gpus": gpus}
        self.status = NO_STATUS
        """The last status of the child; empty while there is no child."""

        self.starts = 0
        self._as_json = as_json
        self._closing = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="runner", daemon=True)

    def with_progress(self, state: State) -> State:
        """Return the state of a batch, including the results of its open shards."""
        published = self.status.get("running", {}).get(state.batch.id)
        if not published or state.is_terminal:
            return state
        try:
            shards = msgspec.convert(published, dict[str, ShardProgress])
            running = {int(n): (one.counts, one.usage) for n, one in shards.items()}
        except ValueError:  # printed by a child of another version
            return state
        return replace(state, running=running)

    @property
    def is_alive(self) -> bool:
        """Whether the child is running."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the child, and watch it."""
        self._thread.start()

    def close(self, drain_seconds: float) -> None:
        """End the child; running requests may finish within `drain_seconds`."""
        self._closing.set()
        child = self._child
        if child is not None:
            child.terminate()
            try:
                child.wait(drain_seconds + _KILL_MARGIN_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        """Start a child whenever there is none.

        The child dies when the thread that started it ends, so this must be a thread
        that lives as long as its process.
        """
        while not self._closing.is_set():
            status = self._watch(self._start())
            self.status = NO_STATUS
            if self._closing.is_set():
                return
            pause = _BACKOFF.seconds(self.starts)
            event = event_fields("runner_died", code=status, starts=self.starts)
            _logger.error(
                "the runner process exited with status %s; restarting in %.1fs",
                status,
                pause,
                extra=event,
            )
            self._closing.wait(pause)

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        parent = str(os.getpid())
        engines = msgspec.json.encode(self._engines).decode()
        options = [_PARENT_OPTION, parent, _ENGINES_OPTION, engines]
        command = [sys.executable, "-P", "-m", __name__, *options]
        if self._as_json:
            command.append("--json")
        self._child = subprocess.Popen(  # noqa: S603 - the command is our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        if self._closing.is_set():  # closed while there was no child
            self._child.terminate()
        return self._child

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        """Read the child's status lines until it ends; return its exit status."""
        with child:
            for line in child.stdout or ():
                try:
                    self.status = msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.DecodeError:  # not a status line
                    continue
        return child.returncode


def main(arguments: list[str]) -> None:
    """Run batches until a SIGTERM, or until the parent dies."""
    kill_with_parent(int(_value(arguments, _PARENT_OPTION)))
    status_stream, log_stream = _redirect_streams()
    start_logging(log_stream, as_json="--json" in arguments)
    engines = msgspec.json.decode(_value(arguments, _ENGINES_OPTION))
    engine = engines.pop("engine")
    settings = load_settings().model_copy(update=engines)
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    storage = open_storage(
        settings.storage,
        s3_endpoint=settings.s3_endpoint,
        s3_path_style=settings.s3_path_style,
    )
    runner = _make_runner(settings, storage, engine)
    with server_lock(data_folder() / "locks", storage.url):
        runner.start()
        while not terminated.wait(_STATUS_SECONDS):
            status_stream.write(json.dumps(_status(runner)) + "\n")
            status_stream.flush()
        runner.close(settings.grace_seconds)


def _value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def _make_runner(
    settings: Settings, storage: Storage, engine: dict[str, Any]
) -> LocalRunner:
    models = Path(settings.model_cache).expanduser()
    catalog = load_catalog(settings.config).with_engine(engine)
    broker = InProcessBroker()
    environment = WorkerEnvironment(
        storage=CachedStorage(storage),
        settings=settings,
        leases=broker,
        status_board=broker,
    )
    return LocalRunner(
        environment,
        broker,
        RendererRegistry(catalog.restricted(), models),
        start_engine=lambda model: start_engine(model, models, settings),
        pool=_pool(settings, catalog),
        # A thread that hangs cannot be ended, only its process.
        on_stuck=lambda: os._exit(ENGINE_DEAD),
    )


def server_slots(settings: Settings, catalog: Catalog) -> Slots:
    """Return the engines of a server.

    Each has the GPUs that the largest model of the user's catalog needs: the built-in
    models may be far larger than those that are served.

    Raises `UsageError`, `ConfigError`.
    """
    built_in = load_catalog().with_engine(catalog.engine)
    own = [model for model in catalog if model != built_in.entry(model.name)]
    sizes = [gpus_needed(model.engine) for model in own]
    needed = max(sizes, default=gpus_needed(catalog.engine))
    return make_slots(settings.engines, settings.gpus, needed)


def _pool(settings: Settings, catalog: Catalog) -> PoolConfig | None:
    slots = server_slots(settings, catalog)
    if note := slots.note():
        _logger.info("%s", note)
    if not slots.need_processes:
        return None
    return PoolConfig(
        slots=slots.engines,
        log=lambda number: engine_log_path(f"serve-{number}"),
        gives_up=False,
        engine=catalog.engine,
    )


def _status(runner: LocalRunner) -> dict[str, Any]:
    stats = runner.stats
    running: dict[str, dict[str, Any]] = defaultdict(dict)
    for (batch_id, shard), progress in runner.shards.items():
        running[batch_id][shard] = msgspec.to_builtins(progress)
    return {
        "models": runner.loaded_models,
        "engines": [engine._asdict() for engine in runner.engines()],
        "tokens_per_second": runner.tokens_per_second,
        "running": running,
        "stats": {
            "batches_ended": stats.batches_ended,
            "requests_done": stats.requests_done,
            "tokens": stats.tokens,
            "cost": float(stats.cost),
        },
    }


def _redirect_streams() -> tuple[TextIO, TextIO]:
    """Return stdout and stderr; send to a file what engines print to them."""
    status_stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log_stream = os.fdopen(os.dup(2), "w", encoding="utf-8")
    log = EngineLog(engine_log_path("serve"))
    os.dup2(log.descriptor, 1)
    os.dup2(log.descriptor, 2)
    return status_stream, log_stream


if __name__ == "__main__":
    main(sys.argv[1:])
