"""Does the engine wait for us? A batch against vLLM's own `LLM.chat`.

    python benchmarks/throughput.py --lengths short --runs 3
    python benchmarks/throughput.py --lengths long-tail --runs 3

The same requests, seeds and engine arguments, each variant in a process of its own,
in turn; loading the model is left out of the times.

- `batchchat`: the embedded run, from the file on disk to the output file: storing,
  checking, checkpoints, commits and results included;
- `chat`: one `LLM.chat` over everything in memory, which is the limit;
- `chat-per-shard`: one `LLM.chat` for each 128 requests, which is what a worker does
  that takes one shard after the other.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIANTS = ("batchchat", "chat", "chat-per-shard")
SHARD = 128


def write_requests(path: Path, requests: int, lengths: str) -> None:
    """Write requests: answers of 32 tokens, or of 8 to 512 with a long tail."""
    source = random.Random(3)
    with path.open("w", encoding="utf-8") as file:
        for index in range(requests):
            tokens = 32
            if lengths == "long-tail":
                tokens = min(512, max(8, round(source.lognormvariate(3.6, 0.9))))
            line = {
                "custom_id": f"q-{index}",
                "messages": [{"role": "user", "content": f"Tell me about {index}."}],
                "max_tokens": tokens,
                "ignore_eos": True,
                "seed": index,
            }
            file.write(json.dumps(line) + "\n")


def run_batchchat(path: Path, models: Path) -> dict[str, Any]:
    """Run the file as `batchchat submit` does, with the engine loaded before."""
    from jobs.catalog import load_catalog
    from jobs.create import Options, create_batch, store_file
    from jobs.ledger import Ledger
    from jobs.progress import Progress
    from jobs.prompters import Prompters
    from jobs.settings import Settings
    from jobs.stop import Stop
    from jobs.storage import LocalStorage
    from workers.embedded import EmbeddedRun
    from workers.vllm_engine import start_vllm

    catalog = load_catalog()
    engine = start_vllm(catalog.find("demo"), models, apart=False, log="error")
    settings = Settings(shard_requests=SHARD, model_cache=str(models))
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(LocalStorage(folder), "default")
        began = time.perf_counter()
        input_file = store_file(ledger, [path.read_bytes()], path.name)
        batch = create_batch(ledger, input_file, Options(model="demo"))
        state = EmbeddedRun(
            ledger,
            settings,
            Prompters(catalog, models),
            start_engine=lambda _: engine,
            stop=Stop(),
            progress=Progress(),
            locks=Path(folder) / "locks",
        ).run(batch.id)
        seconds = time.perf_counter() - began
    assert state.counts().completed == state.counts().total
    tokens = state.usage().output_tokens
    return {"seconds": seconds, "tokens": tokens, "steps": engine.steps}


def run_chat(path: Path, models: Path, shard: int | None) -> dict[str, Any]:
    """Run `LLM.chat` over everything, or over one shard after the other."""
    from vllm import LLM, SamplingParams

    from jobs.catalog import load_catalog
    from jobs.model_files import model_folder
    from jobs.prompt import load_prompter
    from workers.vllm_engine import _arguments, _set_environment

    _set_environment("error")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # as ours: the faster way here
    model = load_catalog().find("demo")
    folder = str(model_folder(model, models))
    prompter = load_prompter(model, models)
    llm = LLM(**_arguments(model, folder, prompter, on_cpu=True))
    steps = _counted(llm)
    began = time.perf_counter()
    bodies = [json.loads(line) for line in path.read_bytes().splitlines()]
    params = [
        SamplingParams(max_tokens=b["max_tokens"], ignore_eos=True, seed=b["seed"])
        for b in bodies
    ]
    size = shard or len(bodies)
    tokens = 0
    for at in range(0, len(bodies), size):
        chats = [body["messages"] for body in bodies[at : at + size]]
        outputs = llm.chat(chats, params[at : at + size], use_tqdm=False)
        tokens += sum(len(output.outputs[0].token_ids) for output in outputs)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "tokens": tokens, "steps": len(steps)}


def _counted(llm: Any) -> list[None]:
    """Return a list that grows by one with each step of the engine."""
    steps: list[None] = []
    step: Callable[[], Any] = llm.llm_engine.step

    def counting() -> Any:
        steps.append(None)
        return step()

    llm.llm_engine.step = counting
    return steps


def measure(variant: str, path: Path, models: Path) -> dict[str, Any]:
    """Run one variant in this process."""
    if variant == "batchchat":
        return run_batchchat(path, models)
    return run_chat(path, models, SHARD if variant == "chat-per-shard" else None)


def main() -> None:
    """Run the variants in turn, each in a process of its own; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--lengths", choices=["short", "long-tail"], default="short")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        variant, path, models = options.one
        print("RESULT " + json.dumps(measure(variant, Path(path), Path(models))))
        sys.stdout.flush()
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.jsonl"
        write_requests(path, options.requests, options.lengths)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.variants}
        for _ in range(options.runs):
            for name in options.variants:
                found[name].append(_in_a_process(name, path, Path(folder) / "models"))
    _print_table(found, options.requests)


def _in_a_process(variant: str, path: Path, models: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", variant, str(path), str(models)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    print(f"{variant:<16} {result['seconds']:6.2f} s", file=sys.stderr)
    return result


def _print_table(found: dict[str, list[dict[str, Any]]], requests: int) -> None:
    print("| variant | seconds (median) | requests/s | tokens/s | engine steps |")
    print("|---|---|---|---|---|")
    for name, runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        tokens, steps = runs[0]["tokens"], runs[0]["steps"]
        rates = f"{requests / seconds:.0f} | {tokens / seconds:.0f}"
        print(f"| {name} | {seconds:.2f} | {rates} | {steps} |")


if __name__ == "__main__":
    main()
