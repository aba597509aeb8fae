"""The world of a simulation: one seed decides who goes on, and when.

Actors are greenlets. An actor that sleeps or waits hands over to the one whose
turn is next by the virtual clock; ties are broken by the seed. Nothing takes real
time, and the same seed gives the same run to the last step.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from greenlet import getcurrent, greenlet

EPOCH = 1_800_000_000.0
"""What a right clock shows when the simulation begins, in Unix seconds."""

_MOST_STEPS = 600_000


class Killed(BaseException):
    """The process of this actor is gone; nobody may hold that up."""


class Process:
    """A process: its actors die together, and share a clock that may be wrong."""

    def __init__(self, name: str, *, skew: float = 0.0, mortal: bool = True) -> None:
        """Begin alive; `mortal` processes may be killed at any call."""
        self.name = name
        self.skew = skew
        self.mortal = mortal
        self.dead = False
        self.killed = False
        self.code = 0
        self.frozen_until = 0.0
        self.actors: set[Actor] = set()
        self.mourners: list[Actor] = []
        self.on_death: list[Callable[[], object]] = []
        self.on_term: list[Callable[[], object]] = []


class Actor:
    """A thread of a process; `turn` grows whenever what it waits for has changed."""

    __slots__ = ("greenlet", "process", "turn", "woken")

    def __init__(self, process: Process) -> None:
        """Begin with nothing to do."""
        self.process = process
        self.greenlet: greenlet
        self.turn = 0
        self.woken = False


class VirtualWorld:
    """The clock, the rng, and the actors."""

    def __init__(self, seed: int) -> None:
        """Begin at second 0; everything that happens follows from `seed`."""
        self.rng = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self.problems: list[str] = []
        self._hub = getcurrent()
        self._nobody = Actor(Process("nobody", mortal=False))
        self.current = self._nobody
        self._heap: list[tuple[float, float, int, int, Actor]] = []
        self._count = count()
        self._graves: list[Process] = []
        self._processes: list[Process] = []

    def spawn(
        self, process: Process, function: Callable[..., object], *arguments: object
    ) -> Actor:
        """Begin an actor that calls `function`."""
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
        """Let the others go on for so long."""
        actor = self.current
        self._alive(actor)
        actor.turn += 1
        self._push(actor, seconds)
        self._hub.switch()

    def park(self, seconds: float | None) -> bool:
        """Wait to be woken, at most so long; say whether that was."""
        actor = self.current
        self._alive(actor)
        actor.turn += 1
        actor.woken = False
        if seconds is not None:
            self._push(actor, seconds)
        self._hub.switch()
        return actor.woken

    def wake(self, actor: Actor) -> None:
        """Have one that is parked go on."""
        actor.turn += 1
        actor.woken = True
        self._push(actor, 0.0)

    def glance(self) -> float:
        """Return the time; now and then others go on meanwhile."""
        actor = self.current
        if (
            actor is not self._nobody
            and not actor.process.dead
            and self.rng.random() < 0.02
        ):
            self.sleep(0.0)
        return self.now

    def wall(self) -> float:
        """Return the time of day as this process's clock shows it."""
        return EPOCH + self.glance() + self.current.process.skew

    def kill(self, process: Process) -> None:
        """End a process where it stands; no line of it runs any more."""
        if not process.dead:
            process.killed = True
            for tell in process.on_death:
                tell()
            self.bury(process)
        if self.current.process is process:
            raise Killed

    def bury(self, process: Process) -> None:
        """End what is left of a process that has ended."""
        process.dead = True
        self._graves.append(process)
        for mourner in process.mourners:
            self.wake(mourner)

    def wait_for(self, process: Process) -> None:
        """Wait for the end of a process."""
        while not process.dead:
            process.mourners.append(self.current)
            self.park(None)

    def chance(self, probability: float) -> bool:
        """Throw the rng."""
        return probability > 0 and self.rng.random() < probability

    def run(self, until: Callable[[], bool]) -> None:
        """Let everybody go on until that is so."""
        while not until():
            self._bury_all()
            self._step()
        self._bury_all()

    def end(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.dead = True
        self._graves = self._processes
        self._bury_all()

    def _step(self) -> None:
        if not self._heap:
            raise RuntimeError("everybody waits for somebody else")
        when, _, _, turn, actor = heappop(self._heap)
        if turn != actor.turn or actor.process.dead or actor.greenlet.dead:
            return
        if actor.process.frozen_until > max(when, self.now):
            self._push(actor, actor.process.frozen_until - self.now)
            return
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise RuntimeError("it goes on for ever")
        self.now = max(self.now, when)
        self.current = actor
        actor.greenlet.switch()
        self.current = self._nobody

    def _bury_all(self) -> None:
        while self._graves:
            process = self._graves.pop()
            for actor in sorted(process.actors, key=lambda one: one.turn):
                self._unwind(actor)
            process.actors.clear()

    def _unwind(self, actor: Actor) -> None:
        """Take an actor's frames down."""
        if actor.greenlet:
            self.current = actor
            actor.greenlet.throw(Killed)
            self.current = self._nobody

    def _alive(self, actor: Actor) -> None:
        if actor.process.dead:
            raise Killed

    def _push(self, actor: Actor, seconds: float) -> None:
        tie = self.rng.random()
        at = self.now + max(0.0, seconds)
        heappush(self._heap, (at, tie, next(self._count), actor.turn, actor))
