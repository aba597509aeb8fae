"""Live status of workers and shards in Redis, for display; it may be lost at any time.

Entries may be written by processes of another version, or by something else. Fields
that this version does not have are ignored, and entries that it cannot decode, or that
no worker could have written, are skipped.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import msgspec.structs
from typing_extensions import override

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.broker.redis_client import KEY_PREFIX, redis_errors
from batchchat.workers.broker.redis_values import (
    MAX_EXPIRY_SECONDS,
    MAX_VALUE_BYTES,
    ExpiringValues,
    delete_wrong_type,
    is_wrong_type,
    with_type,
)

log = logging.getLogger(__name__)

_MAX_AGE_SECONDS = 30
STOP_REQUEST_SECONDS = 60
"""Time after which a stop request ends. The dispatcher repeats it until the batch has
ended, so it must not outlive that need: the batch may get a later deadline."""

_SCAN_COUNT = 1000
_MAX_NUMBER = 1 << 53
"""More than any count; clients read such numbers exactly."""

T = TypeVar("T")
N = TypeVar("N", int, float)


class ShardProgress(msgspec.Struct, frozen=True):
    """Progress of an open attempt at a shard; `at` is the time by the clock of Redis.

    `in_flight` is the number of requests that the engine has.
    """

    counts: Counts
    usage: Usage
    at: float = 0.0
    in_flight: int = 0

    def __post_init__(self) -> None:
        """Reject impossible numbers; msgspec turns this into a ValidationError."""
        parts = (self.counts, self.usage)
        numbers = [n for part in parts for n in msgspec.structs.astuple(part)]
        if not all(0 <= number <= _MAX_NUMBER for number in [*numbers, self.in_flight]):
            raise ValueError("a count must be a number of at least 0")


class BatchProblem(msgspec.Struct, frozen=True):
    """Why a worker or controller cannot read a batch."""

    batch_id: str
    problem: str


def as_problems(by_batch: dict[str, str]) -> list[BatchProblem]:
    """Return the problems of batches for a status, from their texts by batch id."""
    return [BatchProblem(batch_id, text) for batch_id, text in by_batch.items()]


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Status of a worker or controller; `shards` are the names of its open shards."""

    id: str
    queue: str
    model: str
    host: str
    since: Annotated[float, msgspec.Meta(ge=0, le=_MAX_NUMBER)]
    tokens_per_second: Annotated[float, msgspec.Meta(ge=0, le=_MAX_NUMBER)]
    shards: list[str]
    storage_problem: str | None = None
    """Why it may not use the storage and so does no work; None if it may."""

    batch_problems: list[BatchProblem] = []
    """Batches that it cannot read."""


class StatusBoard(Protocol):
    """Status of all workers; each method may raise `BrokerError`."""

    def publish(
        self, worker: WorkerStatus, shards: dict[tuple[str, str], ShardProgress]
    ) -> None:
        """Publish a worker's status and the progress of its shards.

        The keys of `shards` are the batch id and the shard's number as text.
        """
        ...

    def remove(self, worker_id: str) -> None:
        """Remove a worker that ends."""
        ...

    def workers(self) -> list[WorkerStatus]:
        """Return the status of all running workers and controllers."""
        ...

    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:
        """Return the progress of a batch's open shards, by shard number."""
        ...

    def request_stop(self, batch_id: str, drain_seconds: float) -> None:
        """Ask all workers to stop the shards of a batch, for the next minute.

        Requests that an engine has may finish within `drain_seconds`.
        """
        ...

    def stop_requests(self, batch_ids: Iterable[str]) -> dict[str, float]:
        """Return the batches among `batch_ids` to stop, with their drain seconds."""
        ...


class RedisStatusBoard(StatusBoard):
    """A status board in Redis."""

    def __init__(self, redis: Any) -> None:
        """Use the server of the client `redis`."""
        self._redis = redis
        self._values = ExpiringValues(redis)
        self._decoder = _LenientDecoder()

    @override
    def publish(
        self, worker: WorkerStatus, shards: dict[tuple[str, str], ShardProgress]
    ) -> None:
        with redis_errors():
            now = self._redis_time()  # the clocks of the machines may differ
            pipe = self._redis.pipeline(transaction=False)
            status = msgspec.json.encode(worker)
            pipe.set(_worker_key(worker.id), status, ex=_MAX_AGE_SECONDS)
            for (batch_id, shard), progress in shards.items():
                stamped = msgspec.structs.replace(progress, at=now)
                key = _progress_key(batch_id)
                pipe.hset(key, shard, msgspec.json.encode(stamped))
                pipe.expire(key, _MAX_AGE_SECONDS)
            self._execute(pipe, [_progress_key(batch_id) for batch_id, _ in shards])

    def _execute(self, pipe: Any, hashes: list[str]) -> None:
        """Send the commands of `pipe`; all are executed, even if one fails."""
        for result in pipe.execute(raise_on_error=False):
            if not isinstance(result, Exception):
                continue
            if not is_wrong_type(result):
                raise result
            for key in hashes:
                delete_wrong_type(self._redis, key, "hash")  # the next tick writes it

    def _redis_time(self) -> float:
        """Return the time by the one clock that all machines share."""
        seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)

    @override
    def remove(self, worker_id: str) -> None:
        with redis_errors():
            self._redis.delete(_worker_key(worker_id))

    @override
    def workers(self) -> list[WorkerStatus]:
        with redis_errors():
            pattern = _worker_key("*")
            keys = sorted(self._redis.scan_iter(match=pattern, count=_SCAN_COUNT))
            texts = self._values.get(keys)
        decoded = (self._decoder.decode(text, WorkerStatus) for text in texts if text)
        return [worker for worker in decoded if worker is not None]

    @override
    def shard_progress(self, batch_id: str) -> dict[int, ShardProgress]:
        key = _progress_key(batch_id)
        with redis_errors():
            found = with_type(self._redis, key, "hash", lambda: self._fields(key))
            now = self._redis_time()
        progress = {}
        for name, text in found.items():
            shard = self._decoder.number(name, int)
            decoded = self._decoder.decode(text, ShardProgress)
            if shard is None or decoded is None:
                continue
            if abs(now - decoded.at) < _MAX_AGE_SECONDS:
                progress[shard] = decoded
        return progress

    def _fields(self, key: str) -> dict[str, str]:
        """Return the fields of a hash; delete those too long to be progress."""
        fields: dict[str, str] = self._redis.hgetall(key)
        long = [f for f, text in fields.items() if len(f) + len(text) > MAX_VALUE_BYTES]
        if long:
            self._redis.hdel(key, *long)
        return fields

    @override
    def request_stop(self, batch_id: str, drain_seconds: float) -> None:
        with redis_errors():
            key = _stop_key(batch_id)
            self._redis.set(key, repr(drain_seconds), ex=STOP_REQUEST_SECONDS)

    @override
    def stop_requests(self, batch_ids: Iterable[str]) -> dict[str, float]:
        ids = list(batch_ids)
        with redis_errors():
            found = self._values.get([_stop_key(batch_id) for batch_id in ids])
        requests = {}
        for batch_id, text in zip(ids, found, strict=True):
            seconds = None if text is None else self._decoder.number(text, float)
            if seconds is not None and 0 <= seconds <= MAX_EXPIRY_SECONDS:
                requests[batch_id] = seconds
        return requests


class _LenientDecoder:
    """Decodes values of any version; logs once per type that some are skipped."""

    def __init__(self) -> None:
        self._logged: set[type] = set()

    def decode(self, text: str, kind: type[T]) -> T | None:
        """Return the value of a JSON text; None if it cannot be decoded."""
        return self._try(kind, lambda: msgspec.json.decode(text, type=kind))

    def number(self, text: str, kind: type[N]) -> N | None:
        """Return the number that a text consists of; None if it is not a number."""
        return self._try(kind, lambda: kind(text))

    def _try(self, kind: type[T], decode: Callable[[], T]) -> T | None:
        try:
            return decode()
        except (msgspec.DecodeError, ValueError) as error:
            if kind not in self._logged:
                self._logged.add(kind)
                log.warning(
                    "skipped a value in Redis that this version cannot read (%s): %s",
                    kind.__name__,
                    error,
                )
            return None


def _worker_key(worker_id: str) -> str:
    return f"{KEY_PREFIX}worker:{worker_id}"


def _progress_key(batch_id: str) -> str:
    return f"{KEY_PREFIX}running:{batch_id}"


def _stop_key(batch_id: str) -> str:
    return f"{KEY_PREFIX}stop:{batch_id}"
