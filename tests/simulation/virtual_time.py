"""A virtual clock and scheduler: one seed decides which actor runs, and when.

Actors are greenlets. An actor that sleeps or waits switches to the actor that is next
by the virtual clock; the seed breaks ties. Nothing takes real time, and a seed always
gives the same run, step by step.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from greenlet import getcurrent, greenlet

EPOCH = 1_800_000_000.0
"""Time of day at which a simulation begins, in Unix seconds."""

_MAX_STEPS = 600_000


class Killed(BaseException):
    """The process of this actor was killed; no code may catch this."""


class Process:
    """A process, whose actors die together and share a clock that may be wrong."""

    def __init__(self, name: str, *, skew: float = 0.0, mortal: bool = True) -> None:
        """`skew` is the clock's error in seconds; only `mortal` ones are killed."""
        self.name = name
        self.skew = skew
        self.mortal = mortal
        self.dead = False
        self.killed = False
        self.code = 0
        self.frozen_until = 0.0
        self.actors: set[Actor] = set()
        self.waiters: list[Actor] = []
        self.on_death: list[Callable[[], object]] = []
        self.on_term: list[Callable[[], object]] = []


class Actor:
    """A thread of a process; each new `turn` makes earlier wake-ups invalid."""

    __slots__ = ("greenlet", "process", "turn", "woken")

    def __init__(self, process: Process) -> None:
        """`process` is the process that the thread belongs to."""
        self.process = process
        self.greenlet: greenlet
        self.turn = 0
        self.woken = False


class VirtualWorld:
    """The clock, the random numbers and the actors."""

    def __init__(self, seed: int) -> None:
        """Start at second 0; `seed` determines everything that happens."""
        self.rng = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self.problems: list[str] = []
        self._hub = getcurrent()
        self._idle = Actor(Process("idle", mortal=False))
        self.current = self._idle
        self._heap: list[tuple[float, float, int, int, Actor]] = []
        self._count = count()
        self._ended: list[Process] = []
        self._processes: list[Process] = []

    def spawn(
        self, process: Process, function: Callable[..., object], *arguments: object
    ) -> Actor:
        """Start an actor that calls `function`."""
        actor = Actor(process)

        def live() -> None:
            try:
                function(*arguments)
            except Killed:
                return
            process.actors.discard(actor)
            if process.killed:
                self.problems.append(f"{process.name} outlived its kill")

        actor.greenlet = greenlet(live, self._hub)
        if process not in self._processes:
            self._processes.append(process)
        process.actors.add(actor)
        self._push(actor, 0.0)
        return actor

    def sleep(self, seconds: float) -> None:
        """Let other actors run for `seconds`."""
        actor = self.current
        self._alive(actor)
        actor.turn += 1
        self._push(actor, seconds)
        self._hub.switch()

    def park(self, seconds: float | None) -> bool:
        """Wait for `wake`, at most `seconds`; return whether it was called."""
        actor = self.current
        self._alive(actor)
        actor.turn += 1
        actor.woken = False
        if seconds is not None:
            self._push(actor, seconds)
        self._hub.switch()
        return actor.woken

    def wake(self, actor: Actor) -> None:
        """Resume a parked actor."""
        actor.turn += 1
        actor.woken = True
        self._push(actor, 0.0)

    def read_clock(self) -> float:
        """Return the time; sometimes let other actors run first."""
        actor = self.current
        if (
            actor is not self._idle
            and not actor.process.dead
            and self.rng.random() < 0.02
        ):
            self.sleep(0.0)
        return self.now

    def wall(self) -> float:
        """Return the time of day by this process's clock."""
        return EPOCH + self.read_clock() + self.current.process.skew

    def kill(self, process: Process) -> None:
        """Kill a process at its current line."""
        if not process.dead:
            process.killed = True
            for tell in process.on_death:
                tell()
            self.bury(process)
        if self.current.process is process:
            raise Killed

    def bury(self, process: Process) -> None:
        """Remove the actors of a process that has ended."""
        process.dead = True
        self._ended.append(process)
        for waiter in process.waiters:
            self.wake(waiter)

    def wait_for(self, process: Process) -> None:
        """Wait for the end of a process."""
        while not process.dead:
            process.waiters.append(self.current)
            self.park(None)

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return probability > 0 and self.rng.random() < probability

    def run(self, until: Callable[[], bool]) -> None:
        """Run all actors until the condition is true."""
        while not until():
            self._bury_all()
            self._step()
        self._bury_all()

    def end(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.dead = True
        self._ended = self._processes
        self._bury_all()

    def _step(self) -> None:
        if not self._heap:
            raise RuntimeError("all actors wait: deadlock")
        when, _, _, turn, actor = heappop(self._heap)
        if turn != actor.turn or actor.process.dead or actor.greenlet.dead:
            return
        if actor.process.frozen_until > max(when, self.now):
            self._push(actor, actor.process.frozen_until - self.now)
            return
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise RuntimeError("the simulation does not end")
        self.now = max(self.now, when)
        self.current = actor
        actor.greenlet.switch()
        self.current = self._idle

    def _bury_all(self) -> None:
        while self._ended:
            process = self._ended.pop()
            for actor in sorted(process.actors, key=lambda one: one.turn):
                self._unwind(actor)
            process.actors.clear()

    def _unwind(self, actor: Actor) -> None:
        """Unwind the stack of an actor."""
        if actor.greenlet:
            self.current = actor
            actor.greenlet.throw(Killed)
            self.current = self._idle

    def _alive(self, actor: Actor) -> None:
        if actor.process.dead:
            raise Killed

    def _push(self, actor: Actor, seconds: float) -> None:
        tie = self.rng.random()
        at = self.now + max(0.0, seconds)
        heappush(self._heap, (at, tie, next(self._count), actor.turn, actor))
