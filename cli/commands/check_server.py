"""Tries a server as its user: whether it is there, can work, and knows the key."""

import io
import time
from collections.abc import Callable, Iterator

from batchchat.cli.backends.batch_view import read_models
from batchchat.cli.backends.follow import follow
from batchchat.cli.backends.protocol import Batches
from batchchat.cli.client.http_client import Server
from batchchat.cli.terminal.format import count
from batchchat.cli.terminal.input_file import Input
from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.ledger.submission import Options
from batchchat.workers.diagnostics import CheckResult


def run_server_checks(server: Server) -> Iterator[CheckResult]:
    """Yield what is found; nothing more where there is no server."""
    for check, look in (("server", _alive), ("readiness", _ready), ("key", _key)):
        finding = _tried(check, look, server)
        yield finding
        if finding.status == "error" and check == "server":
            return


def try_model(batches: Batches, name: str, line: bytes) -> CheckResult:
    """Have the model answer a batch of one request, which stays in the list."""
    began = time.monotonic()
    try:
        batches.check_model(name)
        file = Input("doctor.jsonl", io.BytesIO(line), len(line))
        batch_id = batches.submit(file, Options(model=name), shown=False)
        view = follow(batches, batch_id, shown=False)
    except BatchchatError as error:
        return CheckResult(
            check="model", status="error", message=error.message, hint=error.hint
        )
    if view is None or view.batch.request_counts.completed != 1:
        text = f"{name} gave no answer, in `{batch_id}`"
        return CheckResult(check="model", status="error", message=text)
    seconds = time.monotonic() - began
    text = f"{name} has answered, in {seconds:.0f}s, as `{batch_id}`"
    return CheckResult(check="model", status="ok", message=text)


def _tried(check: str, look: Callable[[Server], str], server: Server) -> CheckResult:
    try:
        return CheckResult(check=check, status="ok", message=look(server))
    except BatchchatError as error:
        return CheckResult(
            check=check, status="error", message=error.message, hint=error.hint
        )


def _alive(server: Server) -> str:
    began = time.monotonic()
    server.get(f"{server.root}/healthz")
    milliseconds = (time.monotonic() - began) * 1000
    return f"{server.root} answers in {milliseconds:.0f} ms"


def _ready(server: Server) -> str:
    server.get(f"{server.root}/readyz")
    return "it reaches its storage, and its broker if it has one"


def _key(server: Server) -> str:
    models = read_models(server.get("models"))
    return f"it lets us in, and has {count(len(models), 'model')}"
