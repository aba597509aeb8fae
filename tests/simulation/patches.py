"""Hands the product what is simulated, in place of what it imports.

The product is run as it is: `Worker`, `run_controller`, and all below them. Only the
names listed here are others: clocks, threads and what they wait on, random ids, and
the three things outside of a process: Celery, Redis, the operating system.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

import jobs.create
import jobs.floor
import jobs.harvest
import jobs.ids
import jobs.memo
import jobs.progress
import jobs.stop
import jobs.storage.patient
import workers.control
import workers.controller
import workers.host
import workers.keeper
import workers.worker
from jobs.attempt import Attempt
from jobs.ledger import Ledger
from jobs.record import Shard
from jobs.task import Task
from tests.simulation import threads
from tests.simulation.broker import (
    Redis,
    SimulatedConsumer,
    SimulatedLeases,
    SimulatedNews,
    SimulatedQueue,
)
from tests.simulation.world import World
from workers.controller import Controller
from workers.dispatcher import Dispatcher
from workers.hang import HangWatch
from workers.keeper import Keeper

WINDOW = "soon"
"""A completion window that ends while a batch runs."""


@contextmanager
def simulated(world: World, redis: Redis, window: int) -> Iterator[None]:
    """Run the product in `world`; the completion window `soon` has so many seconds."""
    time = threads.Time(world)
    event, lock = partial(threads.Event, world), partial(threads.Lock, world)
    thread = partial(threads.Thread, world)
    uuid4 = partial(_uuid, world)
    keeper = partial(Keeper, clock=time.monotonic)

    def attempt(task: Task, shard: Shard) -> Attempt:
        return Attempt(task, shard, _answers=threads.Queue(world))  # type: ignore[arg-type]

    process: dict[str, Any] = {
        "Consumer": SimulatedConsumer,
        "CeleryQueue": SimulatedQueue,
        "RedisLeases": SimulatedLeases,
        "RedisNews": SimulatedNews,
        "Thread": thread,
        "make_app": lambda _: redis,
        "open_redis": lambda _: redis,
        "os": SimpleNamespace(_exit=partial(_exit, world)),
        "time": time,
        "uuid4": uuid4,
        "worker_shutting_down": SimpleNamespace(connect=partial(_connect, world)),
    }
    names: dict[Any, dict[str, Any]] = {
        jobs.create: {"WINDOWS": {"24h": 86_400, WINDOW: window}},
        jobs.floor: {"Condition": partial(threads.Condition, world)},
        jobs.harvest: {"time": time},
        jobs.ids: {
            "time": time,
            "os": SimpleNamespace(urandom=world.dice.randbytes),
        },
        jobs.memo: {"Lock": lock},
        jobs.progress: {"time": time, "Lock": lock},
        jobs.stop: {"time": time, "Event": event},
        jobs.storage.patient: {"time": time},
        workers.control: {
            **process,
            "Keeper": keeper,
            "Dispatcher": partial(
                Dispatcher, clock=time.time, monotonic=time.monotonic
            ),
            "Controller": partial(Controller, clock=time.time),
        },
        workers.controller: {"Event": event, "Thread": thread, "uuid4": uuid4},
        workers.host: {
            "Attempt": attempt,
            "Event": event,
            "Keeper": keeper,
            "Ledger": partial(Ledger, clock=time.time),
            "Lock": lock,
            "time": time,
            "uuid4": uuid4,
        },
        workers.keeper: {"Event": event, "Lock": lock, "Thread": thread},
        workers.worker: {
            **process,
            "end_with": partial(_end_with, world),
            "HangWatch": partial(HangWatch, clock=time.monotonic),
        },
    }
    patches = [patch.multiple(module, **new) for module, new in names.items()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _uuid(world: World) -> UUID:
    return UUID(int=world.dice.getrandbits(128))


def _connect(world: World, handler: object, **_: object) -> None:
    """Note what Celery calls when its worker is told to end."""
    world.current.process.on_term.insert(0, handler)  # type: ignore[arg-type]


def _end_with(world: World, code: int) -> None:
    for stop in world.current.process.on_term:
        if isinstance(getattr(stop, "__self__", None), SimulatedConsumer):
            stop(code)  # type: ignore[call-arg]


def _exit(world: World, code: int) -> None:
    process = world.current.process
    process.code = code
    world.kill(process)
