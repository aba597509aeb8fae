"""OpenAI's synchronous and asynchronous clients behind the same interface."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from openai import AsyncOpenAI, OpenAI


class SyncApi:
    """Calls like `api(api.client.files.list, limit=1)` return the result."""

    def __init__(self, url: str) -> None:
        self.client: Any = OpenAI(base_url=url, api_key="none")

    def __call__(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return call(*args, **options)

    def all(self, pages: Any) -> list[Any]:
        """Return what auto-paging yields."""
        return list(pages)

    def save(self, call: Any, path: Any) -> None:
        """Stream the response of a call to a file."""
        with call as response:
            response.stream_to_file(path)

    def close(self) -> None:
        self.client.close()


class AsyncApi:
    """The same interface over an event loop in a thread."""

    def __init__(self, url: str) -> None:
        self.client: Any = AsyncOpenAI(base_url=url, api_key="none")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __call__(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self._await(_awaited(call, args, options))

    def all(self, pages: Any) -> list[Any]:
        """Return what auto-paging yields."""

        async def collect() -> list[Any]:
            return [item async for item in pages]

        return list(self._await(collect()))

    def save(self, call: Any, path: Any) -> None:
        """Stream the response of a call to a file."""

        async def stream() -> None:
            async with call as response:
                await response.stream_to_file(path)

        self._await(stream())

    def _await(self, made: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(made, self._loop).result()

    def close(self) -> None:
        self(self.client.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _awaited(
    call: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    return await call(*args, **options)
