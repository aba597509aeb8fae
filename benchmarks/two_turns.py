"""Compare conversations with a generated turn with two consecutive batches.

    python -m benchmarks.two_turns --runs 3

The first question, the model's answer, the second question, the model's answer: as one
batch whose requests generate the first answer within the conversation, and as two
batches, the second made from the answers of the first. Answers have lognormal lengths.
"""

import argparse
import random
import statistics
import tempfile
from pathlib import Path

from benchmarks.one_engine import OneEngine, Run, in_turn, input_line
from benchmarks.report import report

SLOT = {"role": "assistant", "generate": True}


class Conversations:
    """Pairs of questions, and the limits of their answers."""

    def __init__(self, count: int) -> None:
        """Make `count` pairs."""
        source = random.Random(2)
        self._tokens = [
            min(256, max(8, round(source.lognormvariate(3.3, 0.8))))
            for _ in range(count)
        ]

    def with_slots(self) -> bytes:
        """Return the one batch."""
        return b"".join(
            self._line(number, [self._first(number), SLOT, self._second(number)])
            for number in range(len(self._tokens))
        )

    def first(self) -> bytes:
        """Return the first of two batches."""
        return b"".join(
            self._line(number, [self._first(number)])
            for number in range(len(self._tokens))
        )

    def second(self, answers: dict[str, str]) -> bytes:
        """Return the second, made from the answers to the first."""
        return b"".join(
            self._line(
                number,
                [
                    self._first(number),
                    {"role": "assistant", "content": answers[f"q-{number}"]},
                    self._second(number),
                ],
            )
            for number in range(len(self._tokens))
        )

    def _line(self, number: int, messages: list[dict[str, object]]) -> bytes:
        return input_line(
            f"q-{number}",
            messages,
            max_tokens=self._tokens[number],
            ignore_eos=True,
            temperature=0,
        )

    def _first(self, number: int) -> dict[str, object]:
        return {"role": "user", "content": f"Tell me about number {number}."}

    def _second(self, number: int) -> dict[str, object]:
        return {"role": "user", "content": f"And about {number + 1}?"}


def main() -> None:
    """Run both in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    asked = Conversations(options.requests)
    with tempfile.TemporaryDirectory() as folder, OneEngine(Path(folder)) as engine:

        def two_batches() -> Run:
            first = engine.run(asked.first())
            second = engine.run(asked.second(first.texts), keeps_prefixes=True)
            return second._replace(
                seconds=first.seconds + second.seconds,
                cpu=first.cpu + second.cpu,
                steps=first.steps + second.steps,
                usage=first.usage + second.usage,
            )

        engine.run(asked.first())  # warm-up
        found = in_turn(
            options.runs,
            slots=lambda: engine.run(asked.with_slots()),
            batches=two_batches,
        )
    base = statistics.median(run.seconds for run in found["batches"])
    texts = found["batches"][0].texts
    rows = []
    for name, runs in found.items():
        seconds = statistics.median(run.seconds for run in runs)
        usage = runs[0].usage
        rows.append(
            {
                "as": name,
                "seconds": round(seconds, 2),
                "all runs": " ".join(f"{run.seconds:.1f}" for run in runs),
                "engine steps": runs[0].steps,
                "prompt tokens": usage.input_tokens,
                "hit rate %": round(100 * usage.cached_tokens / usage.input_tokens, 1),
                "throughput": round(base / seconds, 2),
                "last texts that differ": sum(
                    runs[0].texts[key] != text for key, text in texts.items()
                ),
            }
        )
    report("two_turns", rows)


if __name__ == "__main__":
    main()
