"""Compare a batch with `LLM.chat` on the same loaded engine, in short turns.

    python -m benchmarks.against_chat --lengths short --runs 10

`throughput.py` gives each run a process of its own, which takes minutes, and a shared
machine changes its speed in that time. Here both take turns of seconds on one engine;
the fastest run and the median count. A batch goes from the input file to the output
file; `LLM.chat` gets everything in memory and writes nothing.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from batchchat.jobs.catalog.usage import Usage
from benchmarks.one_engine import OneEngine, Run, in_turn
from benchmarks.report import report
from benchmarks.throughput import SHARD, write_requests


class Chat:
    """`LLM.chat` on an engine that is already loaded."""

    def __init__(self, engine: OneEngine) -> None:
        """Wrap the engine of `engine` in vLLM's `LLM`."""
        from vllm import LLM, SamplingParams
        from vllm.v1.engine.llm_engine import LLMEngine

        self._engine = engine.core._llm
        self._params = SamplingParams
        with patch.object(LLMEngine, "from_engine_args", return_value=self._engine):
            self._llm = LLM(model=self._engine.model_config.model)

    def run(self, data: bytes) -> Run:
        """Run the requests of an input file in one call."""
        self._engine.reset_prefix_cache()
        began, used = time.perf_counter(), time.process_time()
        lines = [json.loads(line) for line in data.splitlines()]
        bodies = [line["body"] for line in lines]
        params = [
            self._params(
                max_tokens=body["max_tokens"],
                seed=body["seed"],
                ignore_eos=True,
                temperature=body.get("temperature", 1.0),
            )
            for body in bodies
        ]
        chats = [body["messages"] for body in bodies]
        outputs: list[Any] = self._llm.chat(chats, params, use_tqdm=False)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        texts = {
            line["custom_id"]: output.outputs[0].text
            for line, output in zip(lines, outputs, strict=True)
        }
        return Run(seconds, used, 0, Usage(), [], [], texts)


def main() -> None:
    """Run both in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--lengths", choices=["short", "long-tail"], default="short")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, OneEngine(Path(folder)) as engine:
        path = Path(folder) / "requests.jsonl"
        write_requests(path, options.requests, options.lengths)
        data = path.read_bytes()
        chat = Chat(engine)
        chat.run(data)  # warm-up
        found = in_turn(
            options.runs,
            batchchat=lambda: engine.run(data, shard_requests=SHARD),
            chat=lambda: chat.run(data),
        )
    limit = found["chat"]
    rows = []
    for name, runs in found.items():
        fastest = min(run.seconds for run in runs)
        median = statistics.median(run.seconds for run in runs)
        used = statistics.median(run.cpu for run in runs)
        rows.append(
            {
                "variant": name,
                "fastest s": round(fastest, 2),
                "median s": round(median, 2),
                "cpu s": round(used, 2),
                "fastest, of chat": round(
                    min(run.seconds for run in limit) / fastest, 3
                ),
                "median, of chat": round(
                    statistics.median(run.seconds for run in limit) / median, 3
                ),
                "cpu, of chat": round(
                    statistics.median(run.cpu for run in limit) / used, 3
                ),
                "texts that differ": sum(
                    runs[0].texts[key] != text for key, text in limit[0].texts.items()
                ),
            }
        )
    report(f"against_chat-{options.lengths}", rows)


if __name__ == "__main__":
    main()
