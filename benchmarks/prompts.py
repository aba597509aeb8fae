"""Measure the cost of a prompt, from a parsed request to its tokens.

    python -m benchmarks.prompts

The best of several rounds over the same requests, in CPU seconds of this thread: short
requests, and requests of about 1 KB with a system message.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.planning import write_requests
from benchmarks.report import report

QUESTION = '{"messages":[{"role":"user","content":"Tell me about %d."}]}'


def lines(folder: Path, requests: int) -> dict[str, list[bytes]]:
    """Return the lines of each kind."""
    file = folder / "requests.jsonl"
    write_requests(file, requests, 1_060)
    short = [(QUESTION % number).encode() for number in range(requests)]
    return {"short": short, "1 KB": file.read_bytes().splitlines()}


def best(work: Callable[..., object], each: Iterable[Any], rounds: int) -> float:
    """Return the fewest microseconds that `work` took for one of `each`."""
    every, took = list(each), []
    for _ in range(rounds):
        began = time.thread_time()
        for one in every:
            work(*one)
        took.append(time.thread_time() - began)
    return round(1e6 * min(took) / len(every), 1)


def main() -> None:
    """Measure the parts and the whole."""
    from batchchat.jobs.catalog.catalog import load_catalog
    from batchchat.jobs.prompts.registry import RendererRegistry
    from batchchat.jobs.requests.parser import Parser

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        renderer = RendererRegistry(load_catalog(), Path(folder)).get("demo")
        for kind, raws in lines(Path(folder), options.requests).items():
            read: Any = Parser("demo").parse
            requests = [read(raw, number) for number, raw in enumerate(raws, 1)]
            prompts = [(request, renderer.render(request)) for request in requests]
            alone = [(request,) for request in requests]
            rows.append(
                {
                    "requests": kind,
                    "render µs": best(renderer.render, alone, options.rounds),
                    "tokenize µs": best(renderer.tokenize, prompts, options.rounds),
                    "all µs": best(renderer.prepare, alone, options.rounds),
                }
            )
    report("prompts", rows)


if __name__ == "__main__":
    main()
