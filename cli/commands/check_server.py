"""Check a server from the client's side: reachable, ready, key accepted."""

import io
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from batchchat.cli.backends.batch_view import read_models
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.protocol import Backend
from batchchat.cli.client.http_client import ServerClient
from batchchat.cli.terminal.format import count
from batchchat.cli.terminal.input_file import InputFile
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.workers.diagnostics import CheckResult


def run_server_checks(server: ServerClient) -> Iterator[CheckResult]:
    """Yield the results of the checks; only the first if the server is unreachable."""
    for name, check in (("server", _reach), ("readiness", _ready), ("key", _use_key)):
        result = _run(name, check, server)
        yield result
        if result.status == "error" and name == "server":
            return


def try_model(backend: Backend, name: str, line: bytes) -> CheckResult:
    """Run a batch of one request, which stays in the list of batches."""
    start = time.monotonic()
    try:
        backend.check_model(name)
        stream = cast("BinaryIO", io.BufferedReader(io.BytesIO(line)))
        file = InputFile("doctor.jsonl", stream, len(line))
        batch_id = backend.submit(file, BatchOptions(model=name), show_progress=False)
        view = follow(backend, batch_id, show_progress=False)
    except BatchchatError as error:
        return CheckResult(
            check="model", status="error", message=error.message, hint=error.hint
        )
    if view is None or view.batch.request_counts.completed != 1:
        text = f"{name} did not complete the test request"
        hint = f"see the error with `batchchat results {batch_id} --errors`"
        return CheckResult(check="model", status="error", message=text, hint=hint)
    seconds = time.monotonic() - start
    text = f"{name} completed a test request in {seconds:.0f}s (`{batch_id}`)"
    return CheckResult(check="model", status="ok", message=text)


def _run(
    name: str, check: Callable[[ServerClient], str], server: ServerClient
) -> CheckResult:
    try:
        return CheckResult(check=name, status="ok", message=check(server))
    except BatchchatError as error:
        return CheckResult(
            check=name, status="error", message=error.message, hint=error.hint
        )


def _reach(server: ServerClient) -> str:
    start = time.monotonic()
    server.get(f"{server.root}/healthz")
    milliseconds = (time.monotonic() - start) * 1000
    return f"{server.root} responds in {milliseconds:.0f} ms"


def _ready(server: ServerClient) -> str:
    server.get(f"{server.root}/readyz")
    return "the server reaches its storage, and its broker if it uses one"


def _use_key(server: ServerClient) -> str:
    models = read_models(server.get("models"))
    return f"accepted; the server offers {count(len(models), 'model')}"
