"""Which faults occur in a run, and how often."""

from dataclasses import dataclass
from random import Random
from typing import Self


@dataclass
class FaultProfile:
    """Probabilities of faults, per call unless noted.

    Each kind of fault occurs in half of the runs, so that some runs have only one kind,
    often: frequent faults hide rare ones.
    """

    store_refuses: float = 0.0
    """An error, and nothing was written."""

    store_lies: float = 0.0
    """An error, although it was written."""

    store_lags: float = 0.0
    """An error, but it is written seconds later."""

    store_repeats: float = 0.0
    """It is written, and written again seconds later."""

    store_slow: float = 0.0
    """The answer takes long."""

    store_dawdles: float = 0.0
    """If creates are not atomic: time passes between the check and the write."""

    store_crawls: float = 0.0
    """Maximum additional seconds of each call."""

    store_lists_late: float = 0.0
    """A listing that shows the objects of seconds ago."""

    killed_at_store: float = 0.0
    """The process is killed before or after the call."""

    killed_at_redis: float = 0.0
    redis_fails: float = 0.0
    redis_lies: float = 0.0
    leases_split: float = 0.0
    """A held lease is granted to a second worker, or not seen."""

    message_lost: float = 0.0
    message_repeated: float = 0.0
    races: bool = False
    """Whether all work runs twice at the same time."""

    slowness: float = 1.0
    """Factor by which engines are slower, from one to five."""

    engine_dies: float = 0.0
    """Per step."""

    kills: float = 0.0
    """Per second, as all that follow."""

    freezes: float = 0.0
    terms: float = 0.0
    flushes: float = 0.0
    evictions: float = 0.0
    """Leases that Redis evicts."""

    redis_goes: float = 0.0
    store_goes: float = 0.0
    store_fills: float = 0.0
    store_denies: float = 0.0
    """Processes that may not use the bucket for a while, as with expired keys."""

    damages: float = 0.0
    """Records that are truncated in the bucket."""

    @classmethod
    def draw(cls, rng: Random) -> Self:
        """Return random probabilities."""
        faults = cls(slowness=5 ** rng.random())
        for name, most in _MAX_PROBABILITIES.items():
            if rng.random() < 0.5:
                setattr(faults, name, most * rng.random() ** 2)
        return cls.racing(rng) if rng.random() < 0.3 else faults

    @classmethod
    def racing(cls, rng: Random) -> Self:
        """Return a profile in which all work runs twice, with few other faults."""
        return cls(
            races=True,
            leases_split=0.6,
            message_repeated=0.6,
            store_crawls=rng.random(),
            store_dawdles=0.6,
            store_lists_late=rng.random(),
            slowness=1 + 2 * rng.random(),
            killed_at_store=0.01 * rng.random(),
        )

    def end_faults(self) -> None:
        """Set all probabilities to zero."""
        for name in _MAX_PROBABILITIES:
            setattr(self, name, 0.0)


_MAX_PROBABILITIES = {
    "store_refuses": 0.2,
    "store_lies": 0.2,
    "store_lags": 0.1,
    "store_repeats": 0.2,
    "store_slow": 0.1,
    "store_crawls": 2.0,
    "store_dawdles": 1.0,
    "store_lists_late": 1.0,
    "killed_at_store": 0.05,
    "killed_at_redis": 0.02,
    "redis_fails": 0.2,
    "redis_lies": 0.2,
    "leases_split": 0.1,
    "message_lost": 0.5,
    "message_repeated": 0.7,
    "engine_dies": 0.03,
    "kills": 0.2,
    "freezes": 0.2,
    "terms": 0.3,
    "flushes": 0.2,
    "evictions": 6.0,
    "redis_goes": 0.05,
    "store_goes": 0.05,
    "store_fills": 0.05,
    "store_denies": 0.1,
    "damages": 1.0,
}
