"""A stand-in for the Hugging Face Hub: what an upload of a folder calls."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Hub:
    """What was uploaded: the files of each dataset, by their path."""

    url: str = ""
    token: str = "hf_secret"
    datasets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Run a hub on this machine."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub

    def do_GET(self) -> None:
        """Describe a dataset, or list its files."""
        name = "/".join(self.path.split("?")[0].split("/")[3:5])
        files = self.state.datasets.get(name, {})
        if "/tree/" in self.path:
            listed = [
                {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
                for path, data in files.items()
            ]
            self._answer(200, listed)
        else:
            self._answer(200, {"id": name, "sha": "0" * 40})

    def do_POST(self) -> None:
        """Create a dataset, or accept files."""
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != f"Bearer {self.state.token}":
            self._answer(401, {"error": "Invalid credentials in Authorization header"})
            return
        path = self.path.split("?")[0]
        if path == "/api/repos/create":
            self._create(json.loads(data))
        elif path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            files = json.loads(data)["files"]
            modes = [
                {"path": it["path"], "uploadMode": "regular", "shouldIgnore": False}
                for it in files
            ]
            self._answer(200, {"files": modes})
        elif path.endswith("/commit/main"):
            self._commit("/".join(path.split("/")[3:5]), data)
        else:
            self._answer(404, {"error": f"no such path: {path}"})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization', 'user')}/{asked['name']}"
        visibility = asked.get("visibility")  # `private` in older clients
        self.state.private[name] = visibility == "private" or bool(asked.get("private"))
        self.state.datasets.setdefault(name, {})
        self._answer(200, {"url": f"{self.state.url}/datasets/{name}"})

    def _commit(self, name: str, data: bytes) -> None:
        files = self.state.datasets[name]
        for line in data.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.state.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        url = f"{self.state.url}/datasets/{name}/commit/{'1' * 40}"
        self._answer(200, {"commitUrl": url, "commitOid": "1" * 40, "success": True})

    def _answer(self, status: int, body: Any) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
