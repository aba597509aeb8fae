"""A real server of the application in a thread, used by most tests of the API."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from batchchat.api.context import AppContext
from batchchat.api.server.app import make_app
from batchchat.api.server.uvicorn_server import Server, listen
from batchchat.jobs.access.api_keys import ApiKeys
from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import CachedStorage, MemoryStorage, Storage
from tests.support.ended import MODEL

LINE = b'{"messages": [{"role": "user", "content": "hi"}]}\n'
URL = "/v1/chat/completions"


class ApiServer:
    """A server over a storage, with an HTTP client that sends no key by itself."""

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        loopback_only: bool = True,
        model: Model = MODEL,
        clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:
        self.storage = storage or MemoryStorage()
        cached = CachedStorage(self.storage)
        self.context = AppContext(
            Settings(storage="memory://", **settings),
            Catalog({"m": model}).restricted(),
            cached,
            ApiKeys(cached),
            loopback_only,
            clock,
        )
        self.app = make_app(self.context)
        self._listener = listen("127.0.0.1", 0)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = Server(self.app, 1)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._listener],), daemon=True
        )
        self._thread.start()
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def key(self, project: str) -> dict[str, str]:
        """Create a key; return the header that sends it."""
        _, text = self.context.keys.create(project)
        return {"authorization": f"Bearer {text}"}

    def upload(self, data: bytes = LINE, *, purpose: str = "batch", **how: Any) -> str:
        """Upload a file; return its id."""
        response = self.client.post(
            "/v1/files",
            files={"file": ("in.jsonl", data)},
            data={"purpose": purpose},
            **how,
        )
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def create(self, file_id: str, *, headers: Any = None, **fields: Any) -> Any:
        """Request a batch; return the response."""
        asked = {"input_file_id": file_id, "endpoint": URL, "completion_window": "24h"}
        return self.client.post("/v1/batches", json=asked | fields, headers=headers)

    def batch(self, data: bytes = LINE, **fields: Any) -> str:
        """Upload a file and create its batch; return the batch's id."""
        response = self.create(self.upload(data), model="m", **fields)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def add_endpoint(self, url: str, *types: str) -> dict[str, Any]:
        """Register a webhook endpoint; return the Webhook object."""
        body = {"name": "n", "url": url, "event_types": types or ["batch.completed"]}
        response = self.client.post("/v1/webhook_endpoints", json=body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def stored(self) -> list[str]:
        """Return the keys of all stored objects."""
        return [entry.key for entry in self.storage.list("")]

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a response after checking that it has OpenAI's format."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return dict(error)
