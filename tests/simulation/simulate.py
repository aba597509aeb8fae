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

from tests.simulation.cleaner import Cleaner
from tests.simulation.cluster import SETTINGS, Cluster
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.invariants import problems
from tests.simulation.patches import simulated
from tests.simulation.virtual_time import VirtualWorld

_MAX_RECOVERY = 180.0
"""Time after the last fault within which all batches must end."""


class Result(NamedTuple):
    """The outcome of one simulation; `late` is the recovery time in seconds."""

    seed: int
    problems: list[str]
    seconds: float
    late: float
    steps: int


Draw = Callable[[Random], FaultProfile]


def simulate(
    seed: int, draw: Draw = FaultProfile.draw, *, deletes: bool = False
) -> Result:
    """Run the simulation of a seed, with faults that are drawn from it.

    With `deletes`, an operator deletes ended batches while others run.
    """
    world = VirtualWorld(seed)
    cluster = Cluster(world, draw(world.rng))
    cleaner = Cleaner(cluster)
    late = 0.0
    with simulated(world, cluster.redis, cluster.window), _collecting_errors(world):
        try:
            cluster.start()
            if deletes:
                cleaner.start()
            end = cluster.faults_until + _MAX_RECOVERY
            world.run(lambda: (cluster.is_idle and cleaner.is_idle) or world.now > end)
            late = world.now - cluster.faults_until
            if not cluster.is_idle:
                world.problems.append(
                    f"not ended {_MAX_RECOVERY:g} s after the last fault"
                )
            else:
                _tidy(cluster)
            found = [*problems(cluster), *cleaner.problems()]
        except Exception:  # noqa: BLE001 - reported with its seed
            found = [traceback.format_exc()]
        finally:
            world.end()
    return Result(seed, [*world.problems, *found], world.now, late, world.steps)


def _tidy(cluster: Cluster) -> None:
    """Let orphans expire, end all processes, and check that no lease remains."""
    world = cluster.world
    if cluster.bucket.keys("active/"):
        world.now += 25 * 3600
        soon = world.now + 5 * SETTINGS.controller_interval_seconds
        world.run(lambda: not cluster.bucket.keys("active/") or world.now > soon)
    cluster.close()
    soon = world.now + 30
    world.run(lambda: cluster.is_empty or world.now > soon)
    if not cluster.is_empty:
        world.problems.append("a process does not end after a SIGTERM")
    over = world.now + SETTINGS.lease_seconds
    cluster.watch(over)
    world.run(lambda: world.now > over)
    left = [name for name in cluster.redis.leases if cluster.redis.owner(name)]
    if left:
        world.problems.append(f"leases remain: {left}")


class _ErrorCollector(logging.Handler):
    """Collects log records with a traceback, which come from bugs."""

    def __init__(self, world: VirtualWorld) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            text = "".join(traceback.format_exception(*record.exc_info))
            self._world.problems.append(f"{record.getMessage()}: {text}")


@contextmanager
def _collecting_errors(world: VirtualWorld) -> Iterator[None]:
    ear = _ErrorCollector(world)
    logger = logging.getLogger("batchchat")
    logger.addHandler(ear)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.propagate = True


def main() -> int:
    """Run the chosen seeds; return 1 if one of them has problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run only this seed, or start with it")
    parser.add_argument("--runs", type=int, help="number of consecutive seeds")
    parser.add_argument(
        "--racing", action="store_true", help="run all work twice at once"
    )
    parser.add_argument(
        "--deleting", action="store_true", help="delete ended batches meanwhile"
    )
    options = parser.parse_args()
    first = options.seed or 0
    runs = options.runs or (1 if options.seed is not None else 1000)
    say = partial(print, flush=True)
    began, bad, latest = time.monotonic(), 0, 0.0
    for seed in range(first, first + runs):
        result = simulate(
            seed,
            FaultProfile.racing if options.racing else FaultProfile.draw,
            deletes=options.deleting,
        )
        latest = max(latest, result.late)
        if result.problems:
            bad += 1
            say(f"seed {seed}, {result.seconds:.0f} s:")
            for problem in result.problems[:6]:
                say(f"  {problem}")
    seconds = time.monotonic() - began
    say(
        f"{runs} runs in {seconds:.1f} s, {bad} failed, slowest recovery {latest:.0f} s"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
