"""A server whose responses try to control the terminal of its client."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_object import batch_object
from tests.support.ended import Hand, whole

HOSTILE = (
    "\x1b[2J\x1b]52;c;cm0=\x07\x1b]8;;http://x\x1b\\\r\nerror: forged\b\x00\x7f"
    "\x9b31m\x85\u200b\u202egnp\u2066\u2028\ufeff\U000e0041"
)
"""Clear the screen, set the clipboard, link, start a new line, reverse, and hide."""

BATCH_ID = "batch_" + "0" * 32
_MODEL = {
    "id": HOSTILE,
    "root": HOSTILE,
    "description": HOSTILE,
    "context_length": None,
    "price": {"input": 1, "output": 1, "date": HOSTILE},
}
_LINE = {"custom_id": HOSTILE}
_KEPT = {"id", "object", "status", "output_format"}
"""Fields whose values the client depends on."""


def hostile_batch() -> dict[str, Any]:
    """Return the Batch object of a completed batch with hostile texts."""
    data = whole("a", "text") + b"\n" + whole("b", "text") + b"\nnot JSON\n"
    state = Hand().ended(data, on_invalid="skip", metadata={"key": "value"})
    fields = json.loads(encode(batch_object(state)))
    fields["id"] = BATCH_ID
    delivery = {"status": "completed", "files": [""], "error": None, "ended_at": 1}
    fields["delivery"] = delivery
    return dict(_poisoned(fields))


def _poisoned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _poisoned(it, name) for name, it in value.items()}
    if isinstance(value, list):
        return [_poisoned(it) for it in value]
    if isinstance(value, str) and key not in _KEPT:
        return f"{value}{HOSTILE}"
    return value


class _Server(ThreadingHTTPServer):
    batch: dict[str, Any]
    error: int | None


class _Handler(BaseHTTPRequestHandler):
    def handle_request(self) -> None:
        """Answer a request of any method."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        server = cast("_Server", self.server)
        content = self._content(server.batch)
        if server.error is not None:
            content = {"error": {"message": HOSTILE, "code": HOSTILE}}
        text = json.dumps(content, ensure_ascii=False).encode() + b"\n"
        self.send_response(server.error or 200, "\x9b31m")
        self.send_header("location", "http://x/\x9b31m")
        self.send_header("content-length", f"{len(text)}")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = handle_request  # noqa: N815 - http.server's names

    def _content(self, batch: dict[str, Any]) -> dict[str, Any]:
        path = self.path.partition("?")[0].removeprefix("/v1")
        if path.endswith(("/content", "/results")):
            return _LINE
        if path == "/batches" and self.command == "GET":
            return {"object": "list", "data": [batch], "has_more": False}
        if path.startswith("/batches"):
            return batch
        if path == "/models":
            return {"object": "list", "data": [_MODEL]}
        return _MODEL

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def hostile_server(batch: dict[str, Any], error: int | None = None) -> Iterator[str]:
    """Serve `batch`, or only errors with that status; yield the URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.batch, server.error = batch, error
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
