"""The options that several commands share, worded once."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    """How results are written."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    BOTH = "both"


class OnInvalid(StrEnum):
    """What becomes of a file with bad lines."""

    FAIL = "fail"
    SKIP = "skip"


class Priority(StrEnum):
    """Which batches go first where several wait."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Window(StrEnum):
    """By when a batch must be done."""

    DAY = "24h"
    WEEK = "7d"


File = Annotated[
    str,
    typer.Argument(
        help="JSONL file of requests, or `s3://bucket/key`; `-` reads stdin.",
        metavar="FILE",
    ),
]
BatchId = Annotated[str, typer.Argument(help="The batch, as `batch_…`.", metavar="ID")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Catalog name, hub id, or a folder; for lines that name none.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", help="Write the results to this path; `-` is stdout."
    ),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="Of the results.")]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        metavar="DOLLARS",
        min=0.000001,
        max=1e9,
        help="Stop, with what is finished, before it would cost more.",
    ),
]
Progress = Annotated[
    bool, typer.Option("--progress/--no-progress", help="Show progress on stderr.")
]


def dollars(amount: float | None) -> Decimal | None:
    """Return an amount as it was typed."""
    return None if amount is None else Decimal(repr(amount))


def pairs(metadata: list[str] | None) -> dict[str, str] | None:
    """Return `KEY=VALUE` options as a dictionary, within OpenAI's limits."""
    if not metadata:
        return None
    split = [pair.partition("=") for pair in metadata]
    if len(split) > _MOST_PAIRS:
        raise typer.BadParameter(f"--metadata: up to {_MOST_PAIRS} pairs are allowed")
    for key, equals, value in split:
        if not (equals and 0 < len(key) <= _LONGEST_KEY and len(value) <= _LONGEST):
            message = f"--metadata: `{key[:80]}` must be KEY=VALUE, KEY of 1 to"
            raise typer.BadParameter(f"{message} {_LONGEST_KEY} characters")
    return {key: value for key, _, value in split}


_MOST_PAIRS = 16
_LONGEST_KEY = 64
_LONGEST = 512
