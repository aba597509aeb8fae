"""Measure whether the engine waits: a batch against vLLM's own ways to run one.

    python -m benchmarks.throughput --lengths short --runs 3
    python -m benchmarks.throughput --lengths long-tail --runs 3

All variants use the same requests and seeds, and run in a process of their own, in
turn. Loading the model is shown separately.

- `batchchat`: an embedded run from the input file to the output file, including
  storing, validating, checkpoints, commits and results; in shards of 128, or of
  `--shard`.
- `chat`: one `LLM.chat` over everything in memory with batchchat's engine arguments,
  the upper limit; it writes nothing.
- `chat-per-shard`: one `LLM.chat` for each 128 requests, like a worker that finishes
  one shard before it starts the next.
- `run-batch`: `vllm run-batch` from file to file with its defaults, except what the
  model needs on a CPU: float32, and no chunked prefill, which crashes it there.
- `run-batch-tuned`: the same with all of batchchat's engine arguments.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report import report

VARIANTS = ("batchchat", "chat", "chat-per-shard", "run-batch", "run-batch-tuned")
LIMIT = "chat"
SHARD = 128
"""Requests in a shard, and in a call of `chat-per-shard`."""

MARK = "RESULT "

Measured = dict[str, Any]


def write_requests(path: Path, requests: int, lengths: str) -> None:
    """Write requests: answers of 32 tokens, or of 8 to 512 with a long tail."""
    source = random.Random(3)
    with path.open("w", encoding="utf-8") as file:
        for index in range(requests):
            tokens = 32
            if lengths == "long-tail":
                tokens = long_tail(source)
            file.write(request_line(index, f"Tell me about {index}.", tokens))


def request_line(index: int, content: str, max_tokens: int) -> str:
    """Return an input line whose answer has exactly `max_tokens` tokens."""
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "seed": index,
    }
    line = {
        "custom_id": f"q-{index}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }
    return json.dumps(line) + "\n"


def long_tail(source: random.Random) -> int:
    """Return a random answer length: many are short, a few are very long."""
    return min(512, max(8, round(source.lognormvariate(3.6, 0.9))))


def run_batchchat(
    path: Path,
    models: Path,
    shard: int,
    *,
    config: Path | None = None,
    apart: bool = False,
) -> Measured:
    """Run the file as `batchchat submit` does, with the engine already loaded.

    `config` extends the catalog; `apart` puts the engine's core into a process of its
    own, as on a GPU.
    """
    from batchchat.jobs.catalog.catalog import load_catalog
    from batchchat.jobs.execution.progress import Progress
    from batchchat.jobs.ledger.batch_options import BatchOptions
    from batchchat.jobs.ledger.ledger import Ledger
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import create_batch
    from batchchat.jobs.prompts.registry import RendererRegistry
    from batchchat.jobs.settings import Settings
    from batchchat.jobs.shutdown import ShutdownSignal
    from batchchat.jobs.storage import LocalStorage
    from batchchat.workers.engine.vllm_startup import start_vllm
    from batchchat.workers.local.single_batch import SingleBatchRun

    catalog = load_catalog(config)
    began = time.perf_counter()
    engine = start_vllm(
        catalog.find("demo"), models, in_subprocess=apart, log_level="error"
    )
    load = time.perf_counter() - began
    settings = Settings(shard_requests=shard, model_cache=str(models))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(LocalStorage(folder), "default")
        clock = _Clock()
        input_file = store_file(ledger, [path.read_bytes()], path.name)
        batch = create_batch(ledger, input_file, BatchOptions(model="demo"))
        state = SingleBatchRun(
            ledger,
            settings,
            RendererRegistry(catalog, models),
            start_engine=lambda _: engine,
            stop=ShutdownSignal(),
            progress=Progress(),
            locks=Path(folder) / "locks",
        ).run(batch.id)
        times = clock.read()
        assert state.final is not None
        key = ledger.keys.content(state.final.output_file_id or "")
        answers = read_answers(ledger.storage.get(key))
    return times | {"load": load, "steps": engine.steps, "answers": answers}


def run_chat(
    path: Path,
    models: Path,
    shard: int | None,
    *,
    config: Path | None = None,
    apart: bool = False,
) -> Measured:
    """Run `LLM.chat` over everything, or shard by shard."""
    from batchchat.jobs.catalog.catalog import load_catalog
    from batchchat.jobs.catalog.model_files import model_folder
    from batchchat.jobs.prompts.loader import load_renderer
    from batchchat.workers.engine.vllm_startup import engine_arguments, set_environment

    set_environment("error")  # before vLLM's libraries read it
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(apart))  # like batchchat
    model = load_catalog(config).find("demo")
    folder = str(model_folder(model, models))
    began = time.perf_counter()
    from vllm import LLM, SamplingParams

    renderer = load_renderer(model, models)
    arguments = engine_arguments(model, folder, renderer, on_cpu=True)
    del arguments["structured_outputs_config"]  # batchchat's own default
    llm = LLM(**arguments)
    load = time.perf_counter() - began
    steps = _counted(llm)
    clock = _Clock()
    bodies = [json.loads(line)["body"] for line in path.read_bytes().splitlines()]
    params = [
        SamplingParams(max_tokens=b["max_tokens"], ignore_eos=True, seed=b["seed"])
        for b in bodies
    ]
    size = shard or len(bodies)
    outputs = []
    for at in range(0, len(bodies), size):
        chats = [body["messages"] for body in bodies[at : at + size]]
        outputs += llm.chat(chats, params[at : at + size], use_tqdm=False)
    times = clock.read()
    answers = [
        (len(one.outputs[0].token_ids), _sum(one.outputs[0].text)) for one in outputs
    ]
    return times | {"load": load, "steps": len(steps), "answers": answers}


def run_rival(path: Path, models: Path, *, is_tuned: bool) -> Measured:
    """Run vLLM's batch runner; its clock starts when its engine is loaded."""
    from batchchat.jobs.catalog.catalog import load_catalog
    from batchchat.jobs.catalog.model_files import model_folder

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # like batchchat
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if is_tuned:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # like batchchat
    from vllm.entrypoints.launchers import run_batch as rival

    folder = str(model_folder(load_catalog().find("demo"), models))
    output = path.with_suffix(".out")
    common = ["--no-enable-chunked-prefill", "--dtype", "float32"]
    tuned = [
        *("--max-num-seqs", "256", "--max-num-batched-tokens", "4096"),
        *("--enforce-eager", "--distributed-executor-backend", "uni"),
    ]
    sys.argv = [
        *("run-batch", "-i", str(path), "-o", str(output), "--model", folder),
        *("--served-model-name", "demo", "--generation-config", "vllm"),
        *("--max-model-len", "2048", *common, *(tuned if is_tuned else [])),
    ]
    run = rival.run_batch
    found: Measured = {}
    began = time.perf_counter()

    async def timed(client: Any, arguments: Any) -> None:
        found["load"] = time.perf_counter() - began
        clock = _Clock()
        await run(client, arguments)
        found.update(clock.read(), cpu=None)  # the engine runs in other processes

    rival.run_batch = timed
    asyncio.run(rival.main(rival.parse_args()))
    return found | {"steps": None, "answers": read_answers(output.read_bytes())}


class _Clock:
    """Wall-clock seconds and CPU seconds of this process, from now on."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Measured:
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu": time.process_time() - self._cpu,
        }


def read_answers(output: bytes) -> list[tuple[int, int]]:
    """Return the tokens and a checksum of each answer of an output file.

    An answer that failed has no tokens.
    """
    lines = map(json.loads, output.splitlines())
    return [_answer(line["response"]["body"]) for line in lines]


def _answer(body: Any) -> tuple[int, int]:
    if not body or "choices" not in body:
        return 0, 0
    text = body["choices"][0]["message"]["content"]
    return body["usage"]["completion_tokens"], _sum(text)


def _sum(text: str) -> int:
    return zlib.crc32(text.encode())


def _counted(llm: Any) -> list[None]:
    """Return a list that grows by one with each step of the engine."""
    steps: list[None] = []
    step: Callable[[], Any] = llm.llm_engine.step

    def counting() -> Any:
        steps.append(None)
        return step()

    llm.llm_engine.step = counting
    return steps


def measure(variant: str, path: Path, models: Path, shard: int = SHARD) -> Measured:
    """Run one variant in this process."""
    if variant == "batchchat":
        return run_batchchat(path, models, shard)
    if variant.startswith("run-batch"):
        return run_rival(path, models, is_tuned=variant.endswith("tuned"))
    return run_chat(path, models, shard if variant == "chat-per-shard" else None)


def main() -> None:
    """Run the variants in turn, each in its own process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--lengths", choices=["short", "long-tail"], default="short")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--shard", type=int, default=SHARD)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        variant, path, models, shard = options.one
        found = measure(variant, Path(path), Path(models), int(shard))
        print(MARK + json.dumps(found))
        sys.stdout.flush()
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.jsonl"
        write_requests(path, options.requests, options.lengths)
        runs: dict[str, list[Measured]] = {name: [] for name in options.variants}
        for number in range(options.runs):
            for name in options.variants[:: -1 if number % 2 else 1]:
                models = Path(folder) / "models"
                runs[name].append(_in_a_process(name, path, models, options.shard))
    limit = runs.get(LIMIT)
    rows = [_row(name, each, limit) for name, each in runs.items()]
    report(f"throughput-{options.lengths}", rows)


def _in_a_process(variant: str, path: Path, models: Path, shard: int) -> Measured:
    one = [variant, str(path), str(models), str(shard)]
    command = [sys.executable, "-m", "benchmarks.throughput", "--one", *one]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))
    result: Measured = json.loads(line.removeprefix(MARK))
    print(f"{variant:<16} {result['seconds']:6.2f} s", file=sys.stderr)
    return result


def _row(name: str, runs: list[Measured], limit: list[Measured] | None) -> Measured:
    """Return a variant's row; `of chat` is its throughput relative to `chat`."""
    seconds = statistics.median(run["seconds"] for run in runs)
    used = [run["cpu"] for run in runs if run["cpu"] is not None]
    answers = runs[0]["answers"]
    tokens = sum(tokens for tokens, _ in answers)
    row = {
        "variant": name,
        "load s": round(statistics.median(run["load"] for run in runs), 1),
        "seconds": round(seconds, 2),
        "all runs": " ".join(f"{run['seconds']:.1f}" for run in runs),
        "cpu s": round(statistics.median(used), 1) if used else None,
        "requests/s": round(len(answers) / seconds),
        "tokens/s": round(tokens / seconds),
        "engine steps": runs[0]["steps"],
        "failed": sum(not tokens for tokens, _ in answers),
    }
    if limit:
        base = statistics.median(run["seconds"] for run in limit)
        pairs = zip(answers, limit[0]["answers"], strict=True)
        row["of chat"] = round(base / seconds, 3)
        row["texts that differ"] = sum(ours != theirs for ours, theirs in pairs)
    return row


if __name__ == "__main__":
    main()
