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
from batchchat.workers.diagnostics import Finding


def examine_server(server: Server) -> Iterator[Finding]:
    """Yield what is found; nothing more where there is no server."""
    for about, look in (("server", _alive), ("readiness", _ready), ("key", _key)):
        finding = _tried(about, look, server)
        yield finding
        if finding.state == "bad" and about == "server":
            return


def try_model(batches: Batches, name: str, line: bytes) -> Finding:
    """Have the model answer a batch of one request, which stays in the list."""
    began = time.monotonic()
    try:
        batches.check_model(name)
        file = Input("doctor.jsonl", io.BytesIO(line), len(line))
        batch_id = batches.submit(file, Options(model=name), shown=False)
        view = follow(batches, batch_id, shown=False)
    except BatchchatError as error:
        return Finding(about="model", state="bad", text=error.message, hint=error.hint)
    if view is None or view.batch.request_counts.completed != 1:
        text = f"{name} gave no answer, in `{batch_id}`"
        return Finding(about="model", state="bad", text=text)
    seconds = time.monotonic() - began
    text = f"{name} has answered, in {seconds:.0f}s, as `{batch_id}`"
    return Finding(about="model", state="good", text=text)


def _tried(about: str, look: Callable[[Server], str], server: Server) -> Finding:
    try:
        return Finding(about=about, state="good", text=look(server))
    except BatchchatError as error:
        return Finding(about=about, state="bad", text=error.message, hint=error.hint)


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
