"""The local runner in a process of its own, so that an engine never slows a server.

On a CPU the engine's core runs inside its process and holds the interpreter for
long; on a GPU it may take its process down with it. Neither is a server's affair. The
child dies with its parent, is started again when it dies, and says every second how
far it is, one JSON line each.
"""

import ctypes
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
from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.ledger.ledger import State
from batchchat.jobs.logs import event_fields, start_logging
from batchchat.jobs.settings import Settings, data_folder, load_settings
from batchchat.jobs.storage import open_storage
from batchchat.workers.broker.status_board import ShardProgress
from batchchat.workers.engine.startup import start_engine
from batchchat.workers.local.runner import LocalRunner
from batchchat.workers.shards.exit_codes import ENGINE_DEAD

_logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_NEWS = 1.0
_BACKOFF = Backoff(first=1.0, longest=30.0)
_CLOSE_SECONDS = 30.0
"""Seconds past the grace that a child has to end before it is killed."""

_PARENT = "--parent"

NO_STATUS: Mapping[str, Any] = MappingProxyType({})


class RunnerProcess:
    """Keeps a child that runs batches, from a thread of its own."""

    def __init__(self, *, as_json: bool) -> None:
        """`as_json` is how the child logs."""
        self.status = NO_STATUS
        self.starts = 0
        self._as_json = as_json
        self._closing = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="runner", daemon=True)

    def with_progress(self, state: State) -> State:
        """Return the state of a batch with what is done in shards that run."""
        told = self.status.get("running", {}).get(state.batch.id)
        if not told or state.is_terminal:
            return state
        status = msgspec.convert(told, dict[str, ShardProgress])
        running = {int(shard): (one.counts, one.usage) for shard, one in status.items()}
        return replace(state, running=running)

    @property
    def is_alive(self) -> bool:
        """Whether there is a child at this moment."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the child, and watch it."""
        self._thread.start()

    def close(self, grace: float) -> None:
        """End the child; running requests get `grace` seconds."""
        self._closing.set()
        child = self._child
        if child is not None:
            child.terminate()
            try:
                child.wait(grace + _CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        """Start a child whenever there is none.

        This thread lives as long as the process, which the child's end is tied to.
        """
        while not self._closing.is_set():
            began = self.starts
            code = self._watch(self._start())
            self.status = NO_STATUS
            if self._closing.is_set():
                return
            about_it = event_fields("runner_died", code=code, starts=began + 1)
            _logger.error(
                "the runner died (%s), and is started again", code, extra=about_it
            )
            self._closing.wait(_BACKOFF.seconds(self.starts))

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        command = [sys.executable, "-P", "-m", __name__, _PARENT, str(os.getpid())]
        if self._as_json:
            command.append("--json")
        self._child = subprocess.Popen(  # noqa: S603 - it is ourselves
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        if self._closing.is_set():  # it was closed while there was no child
            self._child.terminate()
        return self._child

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        """Take the child's status until it ends; return its exit status."""
        with child:
            for line in child.stdout or ():
                try:
                    self.status = json.loads(line)
                except ValueError:
                    continue
        return child.returncode


def main(arguments: list[str]) -> None:
    """Run batches until a SIGTERM, or until the parent dies."""
    _die_with(int(arguments[arguments.index(_PARENT) + 1]))
    status, talk = _own_streams()
    start_logging(talk, as_json="--json" in arguments)
    settings = load_settings()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runner = _runner(settings)
    runner.start()
    while not ended.wait(_NEWS):
        status.write(json.dumps(_status(runner)) + "\n")
        status.flush()
    runner.close(settings.grace_seconds)


def _runner(settings: Settings) -> LocalRunner:
    models = Path(settings.model_cache).expanduser()

    storage = open_storage(
        settings.storage,
        s3_endpoint=settings.s3_endpoint,
        s3_path_style=settings.s3_path_style,
    )
    return LocalRunner(
        storage,
        settings,
        load_catalog(settings.config).restricted(),
        start_engine=lambda model: start_engine(model, models, settings),
        models=models,
        on_hang=lambda: os._exit(ENGINE_DEAD),  # a thread that hangs can't be ended
    )


def _status(runner: LocalRunner) -> dict[str, Any]:
    stats = runner.stats
    running: dict[str, dict[str, Any]] = defaultdict(dict)
    for (batch_id, shard), status in runner.running.items():
        running[batch_id][shard] = msgspec.to_builtins(status)
    return {
        "model": runner.loaded,
        "tokens_per_second": runner.tokens_per_second,
        "running": running,
        "stats": {
            "batches_ended": stats.batches_ended,
            "requests_done": stats.requests_done,
            "tokens": stats.tokens,
            "cost": float(stats.cost),
        },
    }


def _die_with(parent: int) -> None:
    """Have the system end this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _own_streams() -> tuple[TextIO, TextIO]:
    """Return stdout and stderr, and send what engines print to their log."""
    status = os.fdopen(os.dup(1), "w", encoding="utf-8")
    talk = os.fdopen(os.dup(2), "w", encoding="utf-8")
    log = data_folder() / "engine.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    return status, talk


if __name__ == "__main__":
    main(sys.argv[1:])
