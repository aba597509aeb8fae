"""Measure where a request's time goes, from the input file to the output file.

    python -m benchmarks.where_time_goes --requests 2000

Each part's function is timed where it is called, in CPU seconds of the calling thread,
per request. The parts run beside the engine's steps.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.first_result import short
from benchmarks.one_engine import OneEngine
from benchmarks.report import report

ENGINE = "engine: steps"
PARTS = {
    "parse": "batchchat.jobs.execution.shard_reader.ShardReader.parse",
    "render": "batchchat.jobs.prompts.renderer.PromptRenderer.render",
    "tokenize": "batchchat.jobs.prompts.renderer.PromptRenderer.tokenize",
    "parameters": "batchchat.jobs.execution.shard_feeder.sampling_for",
    "cache key": "batchchat.jobs.execution.answer_cache.AnswerCache.cache_key",
    "give to the engine": "batchchat.workers.engine.vllm_core.VllmCore.add",
    ENGINE: "vllm.v1.engine.llm_engine.LLMEngine.step",
    "detokenize": "batchchat.workers.engine.detokenizer.Detokenizer.decode",
    "response": "batchchat.jobs.execution.output_lines.completed",
    "checkpoint": "batchchat.jobs.execution.checkpoint_writer.CheckpointWriter.flush",
    "commit": "batchchat.jobs.execution.checkpoint_writer.CheckpointWriter.commit",
    "store and check the file": "batchchat.workers.control.batch_planner.make_plan",
    "finalize": "batchchat.workers.control.controller.finalize_state",
}


@contextmanager
def timed() -> Iterator[dict[str, list[float]]]:
    """Time each part inside the block; yield wall-clock and CPU seconds by part."""
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    with ExitStack() as stack:
        for part, place in PARTS.items():
            stack.enter_context(_timed(part, place, spent))
        yield spent


def _timed(part: str, place: str, spent: dict[str, list[float]]) -> Any:
    from pkgutil import resolve_name

    function: Callable[..., Any] = resolve_name(place)

    @wraps(function)
    def timing(*arguments: Any, **named: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[part][0] += time.perf_counter() - wall
            spent[part][1] += time.thread_time() - cpu

    return patch(place, timing)


def main() -> None:
    """Run a batch with timers in place and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000)
    options = parser.parse_args()
    data = short(options.requests).replace(b'"max_tokens":8', b'"max_tokens":32')
    with tempfile.TemporaryDirectory() as folder, OneEngine(Path(folder)) as engine:
        engine.run(short(200))  # warm-up
        with timed() as spent:
            run = engine.run(data)
    rows = [
        {
            "part": part,
            "cpu µs a request": round(1e6 * spent[part][1] / options.requests),
            "wall µs a request": round(1e6 * spent[part][0] / options.requests),
            "% of the run": round(100 * spent[part][1] / run.seconds, 1),
        }
        for part in PARTS
    ]
    ours = sum(spent[part][1] for part in PARTS if part != ENGINE)
    rows.append(_total("all but the steps", ours, run.seconds, options.requests))
    rows.append(
        _total("the run, by the clock", run.seconds, run.seconds, len(run.texts))
    )
    report("where_time_goes", rows)


def _total(part: str, seconds: float, whole: float, requests: int) -> dict[str, Any]:
    return {
        "part": part,
        "cpu µs a request": round(1e6 * seconds / requests),
        "% of the run": round(100 * seconds / whole, 1),
    }


if __name__ == "__main__":
    main()
