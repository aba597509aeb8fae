"""StatusBoard of what runs: for people to look at. It may vanish without harm."""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
import msgspec.structs

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.broker.redis_client import KEY_PREFIX, redis_errors

_KEPT = 30
"""Seconds after which status_board are old."""


class ShardProgress(msgspec.Struct, frozen=True):
    """What an open attempt has of its shard; `at` is when it said so, by Redis."""

    counts: Counts
    usage: Usage
    at: float = 0.0
    in_flight: int = 0


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker; `shards` are the names of those that it has open."""

    id: str
    queue: str
    model: str
    host: str
    since: float
    tokens_per_second: float
    shards: list[str]


class StatusBoard(Protocol):
    """Where status_board are told; each method may raise `BrokerError`."""

    def publish(
        self, worker: WorkerStatus, running: dict[tuple[str, str], ShardProgress]
    ) -> None:
        """Say how a worker is, and its open attempts by batch and shard."""
        ...

    def remove(self, worker: str) -> None:
        """Say that a worker has ended."""
        ...

    def workers(self) -> list[WorkerStatus]:
        """Return the workers that are there."""
        ...

    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:
        """Return what open attempts have of a batch's shards."""
        ...

    def request_stop(self, batch_id: str, grace: float) -> None:
        """Ask all workers to stop what they do for a batch.

        What engines have of it gets `grace` seconds to finish.
        """
        ...

    def stop_requests(self, batches: Iterable[str]) -> dict[str, float]:
        """Return those of the batches that are to be stopped, each with its grace."""
        ...


class RedisStatusBoard:
    """StatusBoard in Redis."""

    def __init__(self, redis: Any) -> None:
        """Tell them there."""
        self._redis = redis

    def publish(  # noqa: D102 - see StatusBoard
        self, worker: WorkerStatus, running: dict[tuple[str, str], ShardProgress]
    ) -> None:
        with redis_errors():
            now = self._redis_time()  # the clocks of the machines may differ
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(_worker(worker.id), msgspec.json.encode(worker), ex=_KEPT)
            for (batch_id, shard), status_board in running.items():
                stamped = msgspec.structs.replace(status_board, at=now)
                pipe.hset(_batch(batch_id), shard, msgspec.json.encode(stamped))
                pipe.expire(_batch(batch_id), _KEPT)
            pipe.execute()

    def _redis_time(self) -> float:
        """Return the time by the one clock that all machines share."""
        seconds, micros = self._redis.time()
        return float(seconds + micros / 1e6)

    def remove(self, worker: str) -> None:  # noqa: D102
        with redis_errors():
            self._redis.delete(_worker(worker))

    def request_stop(self, batch_id: str, grace: float) -> None:  # noqa: D102
        with redis_errors():
            self._redis.set(_stop(batch_id), repr(grace), ex=3600)

    def stop_requests(self, batches: Iterable[str]) -> dict[str, float]:  # noqa: D102
        asked = list(batches)
        if not asked:
            return {}
        with redis_errors():
            marks = self._redis.mget([_stop(batch_id) for batch_id in asked])
        return {b: float(m) for b, m in zip(asked, marks, strict=True) if m}

    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:  # noqa: D102
        with redis_errors():
            found = self._redis.hgetall(_batch(batch_id))
            oldest = self._redis_time() - _KEPT
        status_board = {
            int(shard): msgspec.json.decode(text, type=ShardProgress)
            for shard, text in found.items()
        }
        return {shard: one for shard, one in status_board.items() if one.at > oldest}

    def workers(self) -> list[WorkerStatus]:
        """Return the workers that are there."""
        with redis_errors():
            keys = sorted(self._redis.scan_iter(match=_worker("*"), count=1000))
            texts = self._redis.mget(keys) if keys else []
        return [msgspec.json.decode(t, type=WorkerStatus) for t in texts if t]


def _worker(name: str) -> str:
    return f"{KEY_PREFIX}worker:{name}"


def _batch(batch_id: str) -> str:
    return f"{KEY_PREFIX}running:{batch_id}"


def _stop(batch_id: str) -> str:
    return f"{KEY_PREFIX}stop:{batch_id}"
