"""Batches on one vLLM engine, and what is in their results."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchchat.jobs.catalog.catalog import Catalog, Model
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


@dataclass
class Batches:
    """Runs batches on an engine that stays."""

    engine: Any
    model: Model
    models: Path
    locks: Path
    project: str = "default"

    def run(self, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
        """Run bodies as one batch; return their results in the order of the bodies."""
        catalog = Catalog({self.model.name: self.model})
        bench = Bench(
            self.locks,
            renderers=RendererRegistry(catalog, self.models),
            start_engine=lambda _: Kept(self.engine),
            project=self.project,
        )
        raw = b"\n".join(json.dumps(full(body)).encode() for body in bodies)
        batch_id = bench.submit(raw, model=self.model.name, on_invalid="skip")
        good, bad = bench.results(bench.run(batch_id))
        results = {result["custom_id"]: result for result in (*good, *bad)}
        return [results[f"request-{line}"] for line in range(1, len(bodies) + 1)]


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
