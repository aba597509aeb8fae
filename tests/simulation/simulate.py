"""Runs simulations: `python tests/simulation/simulate.py --seed 4711`."""

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import NamedTuple

from tests.simulation.cluster import SETTINGS, Cluster
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.invariants import problems
from tests.simulation.patches import simulated
from tests.simulation.virtual_time import VirtualWorld

_BOUND = 180.0
"""Seconds after the last fault within which everything must have ended."""


class Story(NamedTuple):
    """How a run went; `problems` is empty if all was well."""

    seed: int
    problems: list[str]
    seconds: float
    late: float
    steps: int


Drawn = Callable[[Random], FaultProfile]


def simulate(seed: int, drawn: Drawn = FaultProfile.drawn) -> Story:
    """Run the simulation of a seed, in the faults that is drawn for it."""
    world = VirtualWorld(seed)
    cluster = Cluster(world, drawn(world.rng))
    late = 0.0
    with simulated(world, cluster.redis, cluster.window), _heard(world):
        try:
            cluster.start()
            end = cluster.faults_until + _BOUND
            world.run(lambda: cluster.is_idle or world.now > end)
            late = world.now - cluster.faults_until
            if not cluster.is_idle:
                world.problems.append(f"not ended {_BOUND:g} s after the last fault")
            else:
                _tidy(cluster)
            found = list(problems(cluster))
        except Exception:  # noqa: BLE001 - told with its seed
            found = [traceback.format_exc()]
        finally:
            world.end()
    return Story(seed, [*world.problems, *found], world.now, late, world.steps)


def _tidy(cluster: Cluster) -> None:
    """Let orphans grow old; then end all, and see that no lease is left."""
    world = cluster.world
    if cluster.bucket.keys("active/"):
        world.now += 25 * 3600
        soon = world.now + 5 * SETTINGS.controller_interval_seconds
        world.run(lambda: not cluster.bucket.keys("active/") or world.now > soon)
    cluster.close()
    soon = world.now + 30
    world.run(lambda: cluster.is_empty or world.now > soon)
    if not cluster.is_empty:
        world.problems.append("a process does not end when it is told to")
    over = world.now + SETTINGS.lease_seconds
    cluster.watch(over)
    world.run(lambda: world.now > over)
    left = [name for name in cluster.redis.leases if cluster.redis.owner(name)]
    if left:
        world.problems.append(f"leases are left: {left}")


class _Ear(logging.Handler):
    """Hears of errors that nobody foresaw."""

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info))
            self._world.problems.append(f"{record.getMessage()}: {text}")


@contextmanager
def _heard(world: VirtualWorld) -> Iterator[None]:
    ear = _Ear(world)
    logger = logging.getLogger("batchchat")
    logger.addHandler(ear)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.propagate = True


def main() -> int:
    """Run the seeds that are asked for; return 1 if one of them went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one alone, or begin with it")
    parser.add_argument("--runs", type=int, help="how many seeds, one after the other")
    parser.add_argument("--racing", action="store_true", help="do everything twice")
    options = parser.parse_args()
    first = options.seed or 0
    runs = options.runs or (1 if options.seed is not None else 1000)
    say = partial(print, flush=True)
    began, bad, latest = time.monotonic(), 0, 0.0
    for seed in range(first, first + runs):
        story = simulate(
            seed, FaultProfile.racing if options.racing else FaultProfile.drawn
        )
        latest = max(latest, story.late)
        if story.problems:
            bad += 1
            say(f"seed {seed}, {story.seconds:.0f} s:")
            for problem in story.problems[:6]:
                say(f"  {problem}")
    seconds = time.monotonic() - began
    say(f"{runs} runs in {seconds:.1f} s, {bad} bad, the latest {latest:.0f} s late")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
