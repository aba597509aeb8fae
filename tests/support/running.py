"""Runs batches in memory with the echo engine."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.settings import Settings
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import MemoryStorage, Storage
from batchchat.workers.engine.echo_core import start_echo
from batchchat.workers.local.engine_launch import PoolConfig
from batchchat.workers.local.engine_loop import StartEngine
from batchchat.workers.local.single_batch import SingleBatchRun

ECHO = Model(name="echo", source="echo", context_length=512)
SETTINGS = Settings(shard_requests=7, checkpoint_seconds=0.001, retry_timeout_seconds=0)


def renderer() -> PromptRenderer:
    """Return a renderer whose tokens are bytes."""
    template = ChatTemplate("{{ messages[-1].content }}", {})
    return PromptRenderer(template, lambda text: list(text.encode()), 512)


class EchoRegistry(RendererRegistry):
    """Returns the same renderer for every model."""

    def get(self, _model: str | Model) -> PromptRenderer:
        """Return the renderer."""
        return renderer()


def lines(requests: int, **body: object) -> bytes:
    """Return an input file with that number of requests."""
    return b"".join(
        json.dumps(
            {
                "custom_id": f"q-{index}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "messages": [{"role": "user", "content": f"question {index}"}],
                    "max_tokens": 1 + index % 9,
                    **body,
                },
            }
        ).encode()
        + b"\n"
        for index in range(requests)
    )


@dataclass
class Bench:
    """A storage and everything that is needed to run batches in it."""

    locks: Path
    storage: Storage = field(default_factory=MemoryStorage)
    settings: Settings = SETTINGS
    progress: Progress = field(default_factory=Progress)
    stop: ShutdownSignal = field(default_factory=ShutdownSignal)
    speed: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    renderers: RendererRegistry | None = None
    start_engine: StartEngine | None = None
    project: str = "default"
    pool: PoolConfig | None = None

    @property
    def ledger(self) -> Ledger:
        """A new ledger with empty caches."""
        return Ledger(self.storage, self.project, self.clock)

    def submit(self, data: bytes, **options: object) -> str:
        """Submit a file; return the id of the batch."""
        asked = BatchOptions(**{"model": "echo", "seed": 1, **options})  # type: ignore[arg-type]
        input_file = store_file(self.ledger, [data], "input.jsonl")
        return create_batch(self.ledger, input_file, asked).id

    def run(self, batch_id: str, storage: Storage | None = None) -> State:
        """Run the batch as in a new process."""
        return SingleBatchRun(
            Ledger(storage or self.storage, self.project, self.clock),
            self.settings,
            self.renderers or EchoRegistry(Catalog({"echo": ECHO}), self.locks),
            start_engine=self.start_engine
            or (lambda _: start_echo(renderer(), **self.speed)),
            pool=self.pool,
            stop=self.stop,
            progress=self.progress,
            locks=self.locks,
        ).run(batch_id)

    def results(
        self, state: State
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the lines of the output and the error file."""
        assert state.final is not None
        return self._file(state.final.output_file_id), self._file(
            state.final.error_file_id
        )

    def _file(self, file_id: str | None) -> list[dict[str, Any]]:
        if file_id is None:
            return []
        data = self.storage.get(self.ledger.keys.content(file_id))
        return [json.loads(line) for line in data.splitlines()]


def text(result: dict[str, Any]) -> str:
    """Return the answer of a result."""
    content = result["response"]["body"]["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content
