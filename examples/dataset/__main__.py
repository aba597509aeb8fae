"""Make a dataset of many answers per prompt: `python -m examples.dataset --help`."""

import argparse
import sys
from pathlib import Path

from examples.batch import Batch, RecipeError, say
from examples.dataset.keep import Filter, keep
from examples.dataset.prompt import read_prompts, requests

_NOTHING_KEPT = 1
_WRONG = 2
_SEEDS = 2**63


def main() -> int:
    """Make the dataset; return 0, or 1 if no sample was kept."""
    asked = _parser().parse_args()
    try:
        return _make(asked)
    except (RecipeError, OSError) as error:
        say(f"error: {error}")
        return _WRONG


def _make(asked: argparse.Namespace) -> int:
    output: Path = asked.output
    output.parent.mkdir(parents=True, exist_ok=True)
    batch = Batch(output.parent, output.stem, asked.model)
    lines = requests(
        read_prompts(asked.prompts),
        samples=asked.samples,
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
    )
    batch.run(lines, options=["--seed", str(asked.seed)], formats="parquet")
    counts = keep(batch.parquet, output, Filter(asked.min_chars, asked.max_chars))
    kept = counts.pop("kept", 0)
    say(f"kept {kept:,} of {kept + counts.total():,} samples")
    for fault, number in counts.most_common():
        say(f"  {fault:<12}  {number:,}")
    if not kept:
        say("no sample was kept, so no dataset was written")
        return _NOTHING_KEPT
    say(f"wrote {output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="examples.dataset", description=__doc__)
    parser.add_argument("prompts", type=Path, help="JSONL file of prompts")
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.parquet")
    parser.add_argument("--samples", type=_positive, default=8, metavar="N")
    parser.add_argument(
        "--seed", type=_seed, default=0, help="seed of the whole dataset"
    )
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=_positive, default=1024, metavar="N")
    parser.add_argument("--min-chars", type=_positive, default=1, metavar="N")
    parser.add_argument("--max-chars", type=_positive, default=20_000, metavar="N")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < _SEEDS:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
