"""Batches on one loaded engine, which several benchmarks share."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest.mock import patch

import msgspec

from batchchat.jobs.catalog.catalog import Catalog, load_catalog
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.settings import Settings
from batchchat.jobs.shutdown import ShutdownSignal
from batchchat.jobs.storage import LocalStorage
from batchchat.workers.engine.driver import EngineDriver
from batchchat.workers.engine.vllm_startup import start_vllm
from batchchat.workers.local.single_batch import SingleBatchRun


class Run(NamedTuple):
    """Measurements of one batch; times are seconds since it was submitted.

    `texts` are by custom_id.
    """

    seconds: float
    cpu: float
    steps: int
    usage: Usage
    results: list[float]
    commits: list[float]
    texts: dict[str, str]


class OneEngine:
    """The demo model, loaded once; batches run on it one after the other."""

    def __init__(self, models: Path, *, apart: bool = False, **arguments: Any) -> None:
        """Load it with additional `arguments` of vLLM's `EngineArgs`."""
        demo = load_catalog().find("demo")
        model = msgspec.structs.replace(demo, engine=demo.engine | arguments)
        self.catalog = Catalog({"demo": model})
        self.models = models
        self.engine: EngineDriver = start_vllm(
            model, models, in_subprocess=apart, log_level="error"
        )
        self.core: Any = self.engine._core

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the engine."""
        self.engine.close()

    def run(self, data: bytes, *, keeps_prefixes: bool = False, **settings: Any) -> Run:
        """Run an input file to its end, with an empty prefix cache."""
        if not keeps_prefixes:
            self.core._llm.reset_prefix_cache()
        steps = self.engine.steps
        with tempfile.TemporaryDirectory() as folder:
            storage = _Watched(folder)
            ledger = Ledger(storage, "default")
            began, used = time.perf_counter(), time.process_time()
            input_file = store_file(ledger, [data], "in.jsonl")
            batch = create_batch(ledger, input_file, BatchOptions(model="demo", seed=1))
            run = SingleBatchRun(
                ledger,
                Settings(**settings),
                RendererRegistry(self.catalog, self.models),
                start_engine=lambda _: _SharedEngine(self.engine),
                stop=ShutdownSignal(),
                progress=Progress(),
                locks=Path(folder) / "locks",
            )
            with _result_times() as times:
                state = run.run(batch.id)
            seconds, used = time.perf_counter() - began, time.process_time() - used
            texts = _texts(ledger, state)
        assert state.counts().completed == state.counts().total
        return Run(
            seconds,
            used,
            self.engine.steps - steps,
            state.usage(),
            [at - began for at in times],
            [at - began for at in storage.commits],
            texts,
        )


class _SharedEngine:
    """An engine that a run does not close."""

    def __init__(self, engine: EngineDriver) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> bool:
        """Do nothing, so that the next run can use it."""
        return True


@contextmanager
def _result_times() -> Iterator[list[float]]:
    """Record when results arrive: each attempt adds them to a progress of its own."""
    times: list[float] = []
    add = Progress.add

    def record(progress: Progress, results: Any) -> None:
        times.append(time.perf_counter())
        add(progress, results)

    with patch.object(Progress, "add", record):
        yield times


class _Watched(LocalStorage):
    """Records when shards are committed."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.commits: list[float] = []

    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        if "/commits/" in key:
            self.commits.append(time.perf_counter())
        return created


def _texts(ledger: Ledger, state: State) -> dict[str, str]:
    assert state.final is not None
    key = ledger.keys.content(state.final.output_file_id or "")
    lines = map(msgspec.json.decode, ledger.storage.get(key).splitlines())
    return {
        line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"]
        for line in lines
    }


def input_line(custom_id: str, messages: list[dict[str, Any]], **body: Any) -> bytes:
    """Return a line of an input file."""
    line = {"custom_id": custom_id, "messages": messages, **body}
    return msgspec.json.encode(line) + b"\n"


def in_turn(runs: int, **variants: Callable[[], Run]) -> dict[str, list[Run]]:
    """Run the variants in turn, `runs` times, in reverse order every other time."""
    found: dict[str, list[Run]] = {name: [] for name in variants}
    for number in range(runs):
        for name in list(variants)[:: -1 if number % 2 else 1]:
            found[name].append(variants[name]())
            print(f"{name:<16} {found[name][-1].seconds:6.2f} s", file=sys.stderr)
    return found
