"""A batch that is disturbed in several ways, and resumed after each."""

import os
import random
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.command import TINY, Done, Place, Running
from tests.acceptance.processes import engine_core, in_session, two_engines
from tests.acceptance.stored import attempts, checkpointed, checkpoints, shard_of
from tests.support.wait import wait_until

SHARD = 100
CAPACITY = 256
"""Requests that the engine holds at most: twice its `max_num_seqs`."""

GRACE = 2.0
_TOKENS_PER_SECOND = 30
"""For each request: fast enough for a test, slow enough to be disturbed."""

_SLOW = 4
"""So that what is running takes a minute, far longer than the end of a process."""

_FAST = 100_000


@dataclass
class Lost:
    """What a kill cost: lines that were begun, and those whose results are kept."""

    begun: int
    kept: int

    @property
    def most(self) -> int:
        """How many requests may have to be generated again."""
        return self.begun - self.kept


@dataclass
class DisturbedBatch:
    """Disturbs a batch, on vLLM or with simulated text; notes how each run ended."""

    place: Place
    batch_id: str
    simulated: bool
    ends: dict[str, Done] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    _source: random.Random = field(default_factory=lambda: random.Random(1))

    @property
    def storage(self) -> Path:
        """The folder that the batch lives in."""
        return self.place.storage

    def finish(self) -> None:
        """Run what is left.

        Quickly, because requests that may have killed a process run one by one.
        """
        fast = {"simulated_tokens_per_second": _FAST} if self.simulated else {}
        self._end("finished", self._resume(**fast))

    def kill(self, name: str) -> None:
        """Kill the process group with -9 at a random moment."""
        marks, files = attempts(self.storage), checkpoints(self.storage)
        run = self._run_until_checkpoints(self._source.randint(3, 9))
        run.signal(signal.SIGKILL)
        self._end(name, run)
        self.lost.append(
            _lost(attempts(self.storage) - marks, files, checkpoints(self.storage))
        )

    def interrupt_while_loading(self) -> None:
        """Press Ctrl-C before the engine is there."""
        run = self._resume()
        run.until_it_says("loading the model")
        run.signal(signal.SIGINT)
        self._end("interrupted while loading", run)

    def interrupt(self) -> None:
        """Press Ctrl-C once."""
        run = self._run_until_checkpoints(1, simulated_tokens_per_second=_SLOW)
        run.signal(signal.SIGINT)
        self._end("interrupted", run)

    def terminate_and_interrupt(self) -> None:
        """Send SIGTERM, then press Ctrl-C as well."""
        run = self._run_until_checkpoints(1, grace_seconds=120)
        run.signal(signal.SIGTERM)
        run.until_it_says("stopping: ")
        run.signal(signal.SIGINT)
        self._end("terminated and interrupted", run)

    def fill_the_disk(self) -> None:
        """Let no file be larger than a little, until the run gives up."""
        run = self._run_until_checkpoints(1, retry_timeout_seconds=1)
        run.limit_files(TINY)
        self._end("disk full", run)

    def kill_the_engine(self) -> None:
        """Kill the engine's own process, and let the run continue to its end."""
        run = self._run_until_checkpoints(1, engine_process="subprocess")
        os.kill(run.until(lambda: engine_core(run.pid)), signal.SIGKILL)
        self._end("engine killed", run)

    def kill_one_of_two_engines(self) -> None:
        """Run on two engines, and kill one of them while both have work."""
        without_cache = "--engine", "enable_prefix_caching=false"
        run = self._resume("--engines", "2", *without_cache)
        run.until(lambda: checkpoints(self.storage))
        engines = run.until(lambda: two_engines(run.pid))
        os.kill(engines[0], signal.SIGKILL)
        self._end("one of two engines killed", run)

    def _resume(self, *options: str, **settings: object) -> Running:
        own: dict[str, object] = {
            "shard_requests": SHARD,
            "checkpoint_seconds": 0.5,
            "grace_seconds": GRACE,
        }
        if self.simulated:
            own["simulated_tokens_per_second"] = _TOKENS_PER_SECOND
        command = "resume", self.batch_id, *options
        engine = not self.simulated
        return self.place.start(*command, engine=engine, settings=own | settings)

    def _run_until_checkpoints(self, count: int, **settings: object) -> Running:
        """Resume, and return when there are `count` checkpoints more than before."""
        before = len(checkpoints(self.storage))
        run = self._resume(**settings)
        run.until(lambda: len(checkpoints(self.storage)) >= before + count)
        return run

    def _end(self, name: str, run: Running) -> None:
        self.ends[name] = run.end()
        wait_until(lambda: not in_session(run.pid), "the end of every process")


def _lost(marks: Iterable[Path], before: set[Path], after: set[Path]) -> Lost:
    """Say what a run has begun and kept, of what was not kept before it."""
    shards = {shard_of(mark) for mark in marks}
    old = [file for file in before if shard_of(file) in shards]
    new = [file for file in after - before if shard_of(file) in shards]
    begun = SHARD * len(shards) - len(set(checkpointed(set(old))))
    return Lost(begun, len(set(checkpointed(set(new)))))
