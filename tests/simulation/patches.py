"""Replaces what the product imports by simulated objects.

The product is run as it is: `Worker`, `run_controller`, and all below them. Only the
names listed here are others: clocks, threads and what they wait on, random ids, and
the three things outside of a process: Celery, Redis, the operating system.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

import batchchat.jobs.backoff
import batchchat.jobs.execution.checkpoint_writer
import batchchat.jobs.execution.engine_gate
import batchchat.jobs.execution.progress
import batchchat.jobs.execution.shard_feeder
import batchchat.jobs.ids
import batchchat.jobs.ledger.active_index
import batchchat.jobs.ledger.completion_window
import batchchat.jobs.lru_cache
import batchchat.jobs.shutdown
import batchchat.jobs.storage.probe
import batchchat.jobs.storage.retrying
import batchchat.workers.broker.lease_keeper
import batchchat.workers.control.controller
import batchchat.workers.control.dispatcher
import batchchat.workers.control.fair_turns
import batchchat.workers.control.main
import batchchat.workers.shards.host_status
import batchchat.workers.shards.shard_host
import batchchat.workers.shards.storage_guard
import batchchat.workers.shards.worker_process
from batchchat.workers.control.controller import Controller
from batchchat.workers.engine.hang_detector import HangDetector
from batchchat.workers.environment import WorkerEnvironment
from batchchat.workers.exit_codes import CANNOT_RUN
from tests.simulation import threads
from tests.simulation.broker import (
    Redis,
    SimulatedAnnouncements,
    SimulatedConsumer,
    SimulatedLeases,
    SimulatedQueue,
    SimulatedStatusBoard,
)
from tests.simulation.virtual_time import VirtualWorld

_Names = dict[ModuleType, dict[str, Any]]
"""The names to replace in each module."""

WINDOW = "soon"
"""A completion window that ends while a batch runs."""


@contextmanager
def simulated(world: VirtualWorld, redis: Redis, window: int) -> Iterator[None]:
    """Run the product in `world`; the completion window `soon` has `window` seconds."""
    windows = {"24h": 86_400, WINDOW: window}
    names = _names_in_jobs(world, windows) | _names_in_workers(world, redis)
    with ExitStack() as patches:
        for module, new in names.items():
            patches.enter_context(patch.multiple(module, **new))
        yield


def _names_in_jobs(world: VirtualWorld, windows: Mapping[str, int]) -> _Names:
    time = threads.Time(world)
    event, lock = partial(threads.Event, world), partial(threads.Lock, world)
    condition = partial(threads.Condition, world)
    urandom = SimpleNamespace(urandom=world.rng.randbytes)
    return {
        batchchat.jobs.backoff: {"random": world.rng},
        batchchat.jobs.ids: {"time": time, "os": urandom},
        batchchat.jobs.lru_cache: {"Lock": lock},
        batchchat.jobs.shutdown: {"time": time, "Event": event},
        batchchat.jobs.ledger.active_index: {"randbelow": world.rng.randrange},
        batchchat.jobs.ledger.completion_window: {
            "completion_window_seconds": windows.__getitem__
        },
        batchchat.jobs.execution.engine_gate: {"Condition": condition},
        batchchat.jobs.execution.checkpoint_writer: {"time": time},
        batchchat.jobs.execution.progress: {"time": time, "Lock": lock},
        batchchat.jobs.execution.shard_feeder: {
            "SimpleQueue": partial(threads.Queue, world)
        },
        batchchat.jobs.storage.probe: {"uuid4": partial(_uuid, world)},
        batchchat.jobs.storage.retrying: {"time": time},
    }


def _names_in_workers(world: VirtualWorld, redis: Redis) -> _Names:
    time = threads.Time(world)
    event, lock = partial(threads.Event, world), partial(threads.Lock, world)
    uuid4 = partial(_uuid, world)
    concurrently = partial(threads.map_concurrently, world)
    process = _names_in_each_process(world, redis)
    return {
        batchchat.workers.broker.lease_keeper: {
            "Event": event,
            "Lock": lock,
            "Thread": partial(threads.Thread, world),
        },
        batchchat.workers.control.controller: {"Event": event, "uuid4": uuid4},
        batchchat.workers.control.dispatcher: {"map_concurrently": concurrently},
        batchchat.workers.control.main: {  # `_sweep` would catch `Killed`
            **process,
            "Announcements": SimulatedAnnouncements,
            "_sweep": partial(_sweep, world),
        },
        batchchat.workers.control.fair_turns: {
            "Condition": partial(threads.Condition, world)
        },
        batchchat.workers.shards.host_status: {"uuid4": uuid4},
        batchchat.workers.shards.storage_guard: {"Lock": lock, "time": time},
        batchchat.workers.shards.shard_host: {
            "Lock": lock,
            "map_concurrently": concurrently,
            "time": time,
        },
        batchchat.workers.shards.worker_process: {
            **process,
            "stop_worker": partial(_stop_worker, world),
            "HangDetector": partial(HangDetector, clock=time.monotonic),
        },
    }


def _names_in_each_process(world: VirtualWorld, redis: Redis) -> dict[str, Any]:
    """Return what the controller's and the worker's main module both import."""
    time = threads.Time(world)
    return {
        "Consumer": SimulatedConsumer,
        "CeleryQueue": SimulatedQueue,
        "RedisLeases": SimulatedLeases,
        "RedisStatusBoard": SimulatedStatusBoard,
        "Thread": partial(threads.Thread, world),
        "WorkerEnvironment": partial(
            WorkerEnvironment, clock=time.time, monotonic=time.monotonic
        ),
        "make_app": lambda _: redis,
        "open_redis": lambda _: redis,
        "os": SimpleNamespace(_exit=partial(_exit, world)),
        "time": time,
        "uuid4": partial(_uuid, world),
        "worker_shutting_down": SimpleNamespace(connect=partial(_connect, world)),
    }


def _uuid(world: VirtualWorld) -> UUID:
    return UUID(int=world.rng.getrandbits(128))


def _connect(world: VirtualWorld, handler: object, **_: object) -> None:
    """Register a handler that Celery calls on a SIGTERM."""
    world.current.process.on_term.insert(0, handler)  # type: ignore[arg-type]


def _stop_worker(world: VirtualWorld, code: int) -> None:
    for stop in world.current.process.on_term:
        if isinstance(getattr(stop, "__self__", None), SimulatedConsumer):
            stop(code)  # type: ignore[call-arg]


def _sweep(world: VirtualWorld, controller: Controller) -> None:
    controller.run_sweeps(on_denied=partial(_exit, world, CANNOT_RUN))


def _exit(world: VirtualWorld, code: int) -> None:
    process = world.current.process
    process.code = code
    world.kill(process)
