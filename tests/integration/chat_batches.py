"""Batches on one vLLM engine, which the tests of a module share."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from batchchat.jobs.catalog.catalog import Catalog, load_catalog
from batchchat.jobs.prompts.registry import RendererRegistry
from tests.support.running import Bench

CITY = {"type": "string", "maxLength": 8}
DAYS = {"type": "integer", "minimum": 0, "maximum": 9}
PLACE = {
    "type": "object",
    "properties": {"city": CITY, "days": DAYS},
    "required": ["city", "days"],
    "additionalProperties": False,
}
FUNCTION = {"name": "weather", "parameters": PLACE, "strict": True}
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": FUNCTION}]
NAMED = {"type": "function", "function": {"name": "weather"}}

Ask = Callable[..., list[dict[str, Any]]]


class Kept:
    """An engine, for a run that must not end it."""

    def __init__(self, engine: Any) -> None:
        """Keep `engine`."""
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        """Return what the engine has."""
        return getattr(self._engine, name)

    def close(self) -> bool:
        """Leave it to the next run."""
        return True


@contextmanager
def batches(tmp_path_factory: Any, catalog: Catalog | None = None) -> Iterator[Ask]:
    """Start an engine; yield what runs bodies as a batch and returns their results."""
    from batchchat.workers.engine.vllm_startup import start_vllm

    catalog = catalog or load_catalog()
    models = tmp_path_factory.mktemp("models")
    started = start_vllm(
        catalog.find("demo"), models, in_subprocess=False, log_level="error"
    )
    with closing(started) as engine:

        def ask(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
            bench = Bench(
                tmp_path_factory.mktemp("locks"),
                renderers=RendererRegistry(catalog, models),
                start_engine=lambda _: Kept(engine),
            )
            raw = b"\n".join(json.dumps(full(body)).encode() for body in bodies)
            batch_id = bench.submit(raw, model="demo", on_invalid="skip")
            good, bad = bench.results(bench.run(batch_id))
            results = {result["custom_id"]: result for result in (*good, *bad)}
            return [results[f"request-{line}"] for line in range(1, len(bodies) + 1)]

        yield ask


def full(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body with what it leaves out."""
    return {"messages": [{"role": "user", "content": "Hi"}], "seed": 3} | body


def answer(result: dict[str, Any]) -> dict[str, Any]:
    """Return the body of an answer."""
    assert result["response"]["status_code"] == 200, result
    body: dict[str, Any] = result["response"]["body"]
    return body


def choice(result: dict[str, Any]) -> dict[str, Any]:
    """Return the first choice of an answer."""
    first: dict[str, Any] = answer(result)["choices"][0]
    return first
