"""How bad a run is: which faults there are, and how often."""

from dataclasses import dataclass
from random import Random
from typing import Self


@dataclass
class FaultProfile:
    """Probabilities, per call if nothing else is said.

    Each kind of fault is there in half of the runs, so that some runs have one kind
    alone, and often: rare faults hide behind frequent ones.
    """

    store_refuses: float = 0.0
    """An error, and nothing was written."""

    store_lies: float = 0.0
    """An error, though it was written."""

    store_lags: float = 0.0
    """An error, and it is written seconds later."""

    store_repeats: float = 0.0
    """It is written, and once more seconds later."""

    store_slow: float = 0.0
    """The answer takes long."""

    store_dawdles: float = 0.0
    """Where creates aren't atomic: time goes by between the look and the write."""

    store_crawls: float = 0.0
    """Seconds that each call takes at most, beside the usual ones."""

    killed_at_store: float = 0.0
    """The process dies, before the call or after it."""

    killed_at_redis: float = 0.0
    redis_fails: float = 0.0
    redis_lies: float = 0.0
    leases_split: float = 0.0
    """A lease that somebody has is granted to another, or not seen."""

    message_lost: float = 0.0
    message_repeated: float = 0.0
    races: bool = False
    """Whether everything is done twice at once."""

    slowness: float = 1.0
    """Of engines, from one to five."""

    engine_dies: float = 0.0
    """Per step."""

    kills: float = 0.0
    """Per second, as all that follow."""

    freezes: float = 0.0
    terms: float = 0.0
    flushes: float = 0.0
    evictions: float = 0.0
    """Leases that Redis forgets."""

    redis_goes: float = 0.0
    store_goes: float = 0.0
    store_fills: float = 0.0
    damages: float = 0.0
    """Records that are torn where they lie."""

    @classmethod
    def drawn(cls, rng: Random) -> Self:
        """Return some faults."""
        faults = cls(slowness=5 ** rng.random())
        for name, most in _MOST.items():
            if rng.random() < 0.5:
                setattr(faults, name, most * rng.random() ** 2)
        return cls.racing(rng) if rng.random() < 0.3 else faults

    @classmethod
    def racing(cls, rng: Random) -> Self:
        """Return faults in which everything is done twice at once, and no more."""
        return cls(
            races=True,
            leases_split=0.6,
            message_repeated=0.6,
            store_crawls=rng.random(),
            store_dawdles=0.6,
            slowness=1 + 2 * rng.random(),
            killed_at_store=0.01 * rng.random(),
        )

    def calm(self) -> None:
        """End all faults."""
        for name in _MOST:
            setattr(self, name, 0.0)


_MOST = {
    "store_refuses": 0.2,
    "store_lies": 0.2,
    "store_lags": 0.1,
    "store_repeats": 0.2,
    "store_slow": 0.1,
    "store_crawls": 2.0,
    "store_dawdles": 1.0,
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
    "damages": 1.0,
}
