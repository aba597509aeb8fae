"""The command-line options that several commands share."""

from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated

import typer

_MAX_METADATA_PAIRS = 16
_MAX_METADATA_KEY_CHARS = 64
_MAX_METADATA_VALUE_CHARS = 512
_MIN_DOLLARS = Decimal("0.000001")
_MAX_DOLLARS = Decimal(1_000_000_000)


class Format(StrEnum):
    """The format of the results."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    BOTH = "both"


class OnInvalid(StrEnum):
    """Which invalid lines fail a batch."""

    OPENAI = "openai"
    FAIL = "fail"
    SKIP = "skip"


class Priority(StrEnum):
    """Which batches run first when several wait."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


File = Annotated[
    str,
    typer.Argument(
        help="JSONL file of requests: a path, s3://bucket/key, or - for stdin.",
        metavar="FILE",
    ),
]
Files = Annotated[
    list[str],
    typer.Argument(
        help="JSONL file of requests, or tables whose rows become requests: a path,"
        " s3://bucket/key, or - for stdin; for tables also a folder, a pattern or"
        " hf://datasets/NAME.",
        metavar="FILE...",
    ),
]
BatchId = Annotated[
    str,
    typer.Argument(
        help="ID of the batch (batch_...), the beginning of it, or latest.",
        metavar="ID",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Model for requests that name none: a catalog name, a Hugging Face ID,"
        " or a directory.",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="File to write the results to; - for stdout.",
    ),
]
OutputFormat = Annotated[
    Format | None,
    typer.Option(
        "--format",
        help="Format of the results.  [default: parquet if the name of the output ends"
        " in .parquet, otherwise jsonl]",
    ),
]


OnInvalidOption = Annotated[
    OnInvalid | None,
    typer.Option(
        "--on-invalid",
        help="Which invalid lines fail the batch: `openai`, those that are no request,"
        " while an error in a request's body becomes a line of the error file; `fail`,"
        " all; `skip`, none.  [default: BATCHCHAT_ON_INVALID, or openai]",
    ),
]


def output_format(output: str | None, chosen: Format | None) -> Format:
    """Return the format that was chosen, or else the one that the file name implies."""
    if chosen is not None:
        return chosen
    is_parquet = output is not None and output.lower().endswith(".parquet")
    return Format.PARQUET if is_parquet else Format.JSONL


def parse_dollars(text: str) -> Decimal:
    """Return an amount of dollars as it was typed. Raises `BadParameter`."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and _MIN_DOLLARS <= amount <= _MAX_DOLLARS):
        raise typer.BadParameter(f"{text!r} is not an amount of dollars, such as 2.50.")
    return amount


def parse_completion_window(text: str) -> str:
    """Return a completion window as it was typed. Raises `BadParameter`."""
    from batchchat.jobs.errors import UsageError
    from batchchat.jobs.ledger.completion_window import expiry

    try:
        expiry(text, 0)
    except UsageError as error:
        raise typer.BadParameter(error.message) from None
    return text


CompletionWindow = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        parser=parse_completion_window,
        help="Time until the batch expires, from 1h to 30d, such as 90m, 24h or 7d;"
        " finished results are kept.  [default: none if this process runs the batch,"
        " otherwise 24h]",
    ),
]
MaxCost = Annotated[
    Decimal | None,
    typer.Option(
        "--max-cost",
        metavar="DOLLARS",
        parser=parse_dollars,
        help="Stop the batch before its estimated cost exceeds DOLLARS; finished"
        " results are kept.",
    ),
]
EngineArguments = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        metavar="NAME=VALUE",
        help="Set an engine argument of vLLM, such as max_num_seqs=256; it overrides"
        " the catalog's (repeatable).",
    ),
]
Reuse = Annotated[
    list[str] | None,
    typer.Option(
        "--reuse",
        metavar="ID",
        help="Ended batch whose answers are used again where requests are equal"
        " (repeatable); `auto` for the last ten of the model, or `none`.  [default:"
        " BATCHCHAT_REUSE, or none]",
    ),
]
ReuseAcrossEngines = Annotated[
    bool,
    typer.Option(
        "--reuse-across-engines",
        help="Reuse answers of other engine versions, precisions and chat templates.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask; required without a terminal."),
]
KeepInput = Annotated[
    bool, typer.Option("--keep-input", help="Keep the input file in the storage.")
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only show what would be deleted, and its size."),
]
Engines = Annotated[
    str | None,
    typer.Option(
        "--engines",
        metavar="N",
        help="Number of engines, each on GPUs of its own, or auto: as many as the GPUs"
        " suffice for.  [default: BATCHCHAT_ENGINES, or 1]",
    ),
]
Gpus = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="LIST",
        help="The GPUs to use, such as 0,1, by index or UUID.  [default: all]",
    ),
]
Progress = Annotated[
    bool, typer.Option("--progress/--no-progress", help="Show progress on stderr.")
]


def parse_duration(text: str) -> int:
    """Return the seconds of a duration as it was typed. Raises `BadParameter`."""
    from batchchat.jobs.durations import duration_seconds

    seconds = duration_seconds(text)
    if not seconds:
        raise typer.BadParameter(f"{text!r} is not a duration, such as 30d or 12h.")
    return seconds


def parse_statuses(names: list[str] | None) -> frozenset[str]:
    """Return the statuses that were named. Raises `BadParameter` for an unknown one."""
    from batchchat.jobs.ledger.state import STATUSES

    for name in names or []:
        if name not in STATUSES:
            near = get_close_matches(name, STATUSES, n=1)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            known = ", ".join(STATUSES)
            raise typer.BadParameter(
                f"{name!r} is not a status. {meant}The statuses are {known}.",
                param_hint="'--status'",
            )
    return frozenset(names or [])


def parse_metadata(options: list[str] | None) -> dict[str, str] | None:
    """Return `KEY=VALUE` options as a dictionary, within OpenAI's limits.

    Raises:
        BadParameter: there are too many, or one is not `KEY=VALUE` or too long.

    """
    if not options:
        return None
    if len(options) > _MAX_METADATA_PAIRS:
        raise _metadata_error(f"at most {_MAX_METADATA_PAIRS} pairs are allowed")
    pairs = [option.partition("=") for option in options]
    for key, equals, value in pairs:
        is_key_valid = equals and 0 < len(key) <= _MAX_METADATA_KEY_CHARS
        if not (is_key_valid and len(value) <= _MAX_METADATA_VALUE_CHARS):
            raise _metadata_error(
                f"`{key[:80]}` must be KEY=VALUE, with a key of 1 to"
                f" {_MAX_METADATA_KEY_CHARS} characters and a value of up to"
                f" {_MAX_METADATA_VALUE_CHARS}"
            )
    return {key: value for key, _, value in pairs}


def _metadata_error(message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint="'--metadata'")
