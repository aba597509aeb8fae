"""Plot the tokens per second of a batch, with the ends of its shards marked.

    python -m benchmarks.plot_throughput --output docs/throughput.svg

The same requests, with answers of long-tailed lengths, run on one engine as a batch,
and shard by shard, like a worker that finishes one shard before it starts the next.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from threading import Semaphore
from typing import Any, NamedTuple

from batchchat.jobs.engine.protocol import EngineRequest
from batchchat.jobs.engine.sampling import request_seed, sampling_for
from batchchat.jobs.requests.parser import Parser
from benchmarks.one_engine import OneEngine, input_line
from benchmarks.report import report
from benchmarks.throughput import SHARD, long_tail

_PATIENCE = 60.0


class Curve(NamedTuple):
    """Tokens and ends of shards, by seconds since the start."""

    tokens: list[tuple[float, int]]
    ends: list[float]

    @property
    def seconds(self) -> float:
        """The time of the last token."""
        return self.tokens[-1][0]

    def rates(self, width: float) -> tuple[list[float], list[float]]:
        """Return times, and the tokens per second around each."""
        bins: Counter[int] = Counter()
        for at, count in self.tokens:
            bins[int(at / width)] += count
        numbers = range(max(bins) + 1)
        times = [width * (number + 0.5) for number in numbers]
        return times, [bins[number] / width for number in numbers]


class Watch:
    """Records when tokens are generated."""

    def __init__(self, engine: OneEngine) -> None:
        """Record each step of the engine."""
        self.tokens: list[tuple[float, int]] = []
        client = engine.core._llm.engine_core
        get_output = client.get_output

        def counting() -> Any:
            outputs = get_output()
            count = sum(len(one.new_token_ids) for one in outputs.outputs)
            self.tokens.append((time.perf_counter(), count))
            return outputs

        client.get_output = counting

    def taken(self, began: float) -> list[tuple[float, int]]:
        """Return what was recorded since the last call."""
        taken = [(at - began, count) for at, count in self.tokens if at >= began]
        self.tokens = []
        return taken


def requests(count: int) -> bytes:
    """Return requests for answers of 8 to 512 tokens."""
    source = random.Random(3)
    return b"".join(
        input_line(
            f"q-{index}",
            [{"role": "user", "content": f"Tell me about {index}."}],
            max_tokens=long_tail(source),
            ignore_eos=True,
            seed=index,
        )
        for index in range(count)
    )


def as_a_batch(engine: OneEngine, watch: Watch, data: bytes) -> Curve:
    """Run a batch."""
    began = time.perf_counter()
    run = engine.run(data, shard_requests=SHARD)
    return Curve(watch.taken(began), run.commits)


def shard_after_shard(engine: OneEngine, watch: Watch, data: bytes) -> Curve:
    """Run a shard, wait for all its answers, then run the next one."""
    engine.core._llm.reset_prefix_cache()
    model, parser = engine.catalog.find("demo"), Parser("demo")
    ends = []
    lines = data.splitlines()
    began = time.perf_counter()
    for at in range(0, len(lines), SHARD):
        done = Semaphore(0)
        shard = lines[at : at + SHARD]
        for number, line in enumerate(shard, at + 1):
            request: Any = parser.parse(line, number)
            prompt = engine.engine.prepare(request)
            sampling = sampling_for(
                request,
                model,
                request_seed(request, 0),
                engine.engine.remaining_context(prompt),
            )
            work = EngineRequest(f"alone-{number}", "", prompt, sampling)
            assert engine.engine.submit(work, partial(_release, done), _PATIENCE)
        for _ in shard:
            done.acquire()
        ends.append(time.perf_counter() - began)
    return Curve(watch.taken(began), ends)


def _release(done: Semaphore, _answer: object) -> None:
    done.release()


def draw(curves: dict[str, Curve], output: Path, width: float) -> None:
    """Draw the curves below each other, on the same axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.fonttype"] = "none"  # keep text as text: smaller and readable
    mpl.rcParams["svg.hashsalt"] = "batchchat"
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        len(curves), 1, sharex=True, sharey=True, figsize=(8, 4), layout="constrained"
    )
    for panel, (name, curve), color in zip(
        panels, curves.items(), ("#1f6feb", "#bc4c00"), strict=True
    ):
        times, rates = curve.rates(width)
        panel.fill_between(times, rates, color=color, alpha=0.25, linewidth=0)
        panel.plot(times, rates, color=color, linewidth=1.2)
        for end in curve.ends:
            panel.axvline(end, ymax=0.06, color="#57606a", linewidth=1)
        panel.set_title(f"{name}: {curve.seconds:.0f} s", loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    panels[0].set_xlim(0, max(curve.seconds for curve in curves.values()))
    panels[0].set_ylim(bottom=0)
    figure.supylabel("tokens a second", fontsize=9)
    panels[-1].set_xlabel("seconds (a tick at the bottom: a shard ends)", fontsize=9)
    output.parent.mkdir(parents=True, exist_ok=True)
    plt.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None)


def main() -> None:
    """Run both, plot them, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--bin", type=float, default=0.5, help="seconds per point")
    parser.add_argument("--output", type=Path, default=Path("build/throughput.svg"))
    options = parser.parse_args()
    data = requests(options.requests)
    with tempfile.TemporaryDirectory() as folder, OneEngine(Path(folder)) as engine:
        watch = Watch(engine)
        engine.run(requests(64))  # warm-up
        curves = {
            "batchchat": as_a_batch(engine, watch, data),
            "one shard after the other": shard_after_shard(engine, watch, data),
        }
    draw(curves, options.output, options.bin)
    rows = [
        {
            "run as": name,
            "seconds": round(curve.seconds, 1),
            "engine steps": len(curve.tokens),
            "tokens/s": round(sum(n for _, n in curve.tokens) / curve.seconds),
        }
        for name, curve in curves.items()
    ]
    report("plot_throughput", rows)
    print(f"drawn to {options.output}")


if __name__ == "__main__":
    main()
