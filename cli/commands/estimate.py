"""`batchchat estimate`: estimate the tokens, cost and time of a file."""

import os
import shlex
from typing import TYPE_CHECKING, Any

from batchchat.cli.commands.takes_rows import takes_rows
from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count, duration, short, size
from batchchat.cli.terminal.row_arguments import RowArguments

if TYPE_CHECKING:
    from decimal import Decimal

    from batchchat.cli.backends.session import Session
    from batchchat.cli.commands.request_source import RequestSource
    from batchchat.cli.terminal.progress_line import ProgressLine
    from batchchat.jobs.catalog.catalog import Model
    from batchchat.jobs.catalog.usage import Price
    from batchchat.jobs.planning.estimator import (
        ModelHistory,
        TokenCounter,
        TokenCounts,
    )
    from batchchat.jobs.planning.scanner import Scan

_MAX_LISTED = 10


@takes_rows
def estimate(
    files: options.Files,
    model: options.Model = None,
    reuse: options.Reuse = None,
    reuse_across_engines: options.ReuseAcrossEngines = False,
    progress: options.Progress = True,
    json: options.Json = False,
    *,
    rows: RowArguments,
) -> int:
    """Estimate the tokens, cost and time of a file.

    Input tokens are counted exactly; output and time follow previous batches of the
    model. The exit status is 1 if any request can't be run.

    batchchat estimate requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import INCOMPLETE
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.check_file import check_requests, validate_command
    from batchchat.cli.commands.request_source import open_requests
    from batchchat.cli.terminal.progress import ProgressDisplay
    from batchchat.jobs.errors import UsageError
    from batchchat.jobs.planning.estimator import TokenCounter, model_history

    # The counter runs its own threads. The tokenizer's threads on top of them make it
    # half as slow again.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    session = open_session()
    if model is not None:
        session.catalog.find(model)
    counter = TokenCounter(model, session.renderers, session.settings.max_line_bytes)
    with open_requests(files, rows) as source:
        describe = _CountingProgress(counter, source.size)
        display = ProgressDisplay(describe, show_progress=progress)
        try:
            checked = check_requests(session, source, model, every_prompt=False)
            reused = _reused_lines(
                session, source, checked, model, reuse, across=reuse_across_engines
            )
            counter.count(source.read(), checked.duplicate_lines(), reused)
        finally:
            display.stop()
    checked.problems.close()
    counted = counter.counted
    if counter.model is None:
        again = shlex.join(["batchchat", "estimate", *files, *rows.words()])
        raise UsageError(
            f"`{source.name}` has no valid request that names a model",
            hint=f"choose one: `{again} --model demo`",
        )
    found = session.catalog.find(counter.model)
    past = model_history(session.ledger, found)
    if json:
        fails_batch = checked.failing_problems > 0
        printed = _object(counted, found, past) | {"fails_batch": fails_batch}
        streams.print_json(printed | _rows_object(counted, source))
    else:
        if (made := source.rows_of(counted.requests)) is not None:
            streams.print_data(f"rows      {count(made)}")
        _show(counted, found, past)
        _show_lines(counted, source)
        _show_failing(checked.failing_problems)
    is_bad = counted.lines or not counted.requests or checked.failing_problems
    if is_bad and not json:
        again = validate_command(files, model, None, rows)
        streams.hint(f"list the problems with `{again}`")
    return INCOMPLETE if is_bad else 0


def _show_failing(problems: int) -> None:
    if problems:
        streams.info(f"{count(problems, 'problem')} would fail the batch")


def _reused_lines(
    session: "Session",
    source: "RequestSource",
    checked: "Scan",
    model: str | None,
    reuse: list[str] | None,
    *,
    across: bool,
) -> set[int]:
    """Return the lines of the requests that would not be run."""
    from batchchat.cli.backends.embedded import EmbeddedBackend
    from batchchat.cli.backends.resolve import reuse_names
    from batchchat.jobs.files.reusable_requests import reusable_lines
    from batchchat.jobs.ledger.batch_options import BatchOptions

    named = reuse_names(EmbeddedBackend(session), reuse)
    return reusable_lines(
        session.ledger,
        BatchOptions(model=model, reuse=named, reuse_across_engines=across),
        source.read,
        checked.shards,
        session.renderers,
        max_line_bytes=session.settings.max_line_bytes,
    )


class _CountingProgress:
    """Describes how much of the file is counted; `size` in bytes, None if unknown."""

    def __init__(self, counter: "TokenCounter", size: int | None) -> None:
        self._counted = counter.counted
        self._size = size

    def __call__(self) -> "ProgressLine":
        from batchchat.cli.terminal.progress_line import Part, ProgressLine

        counted = self._counted
        share = min(1.0, counted.bytes / self._size) if self._size else None
        requests, tokens = (
            count(counted.requests, "request"),
            short(counted.input_tokens),
        )
        parts = Part("counting", rank=1), Part(f"{requests}, {tokens} tokens")
        return ProgressLine("counting", parts, share)


def _object(
    counted: "TokenCounts", model: "Model", past: "ModelHistory | None"
) -> dict[str, Any]:
    """Return what `--json` prints; unknown values are null."""
    output = past.expected_output_tokens(counted) if past else None
    seconds = past.expected_engine_seconds(counted) if past else None
    costs = _costs(counted, model.price, past) if model.price else None
    return {
        "object": "estimate",
        "model": model.name,
        "request_counts": {
            "total": counted.requests,
            "invalid": counted.invalid,
            "too_long": counted.too_long,
            "refused": counted.refused,
            "reused": counted.reused,
        },
        "lines": counted.lines,
        "input_tokens": counted.input_tokens,
        "uncounted_turns": counted.turns,
        "output_tokens": {
            "max": counted.max_output_tokens,
            "expected": output and {"low": output.low, "high": output.high},
        },
        "estimated_cost": costs,
        "price_date": model.price.date if model.price else None,
        "engine_seconds": seconds
        and {"low": round(seconds.low, 3), "high": round(seconds.high, 3)},
        "engine_cost": (
            seconds
            and model.gpu_hour is not None
            and {
                "low": model.engine_cost(seconds.low),
                "high": model.engine_cost(seconds.high),
            }
        )
        or None,
        "based_on": {
            "batches": past.batches if past else 0,
            "requests": past.requests if past else 0,
        },
    }


def _costs(
    counted: "TokenCounts", price: "Price", past: "ModelHistory | None"
) -> dict[str, "Decimal | None"]:
    """Return the lower bound (no output), the expected range and the upper bound."""
    from batchchat.jobs.catalog.usage import Usage

    def cost(output: float) -> "Decimal":
        return price.cost(Usage(counted.input_tokens, 0, round(output)))

    output = past.expected_output_tokens(counted) if past else None
    return {
        "min": cost(0),
        "expected_low": cost(output.low) if output else None,
        "expected_high": cost(output.high) if output else None,
        "max": cost(counted.max_output_tokens),
    }


def _show(counted: "TokenCounts", model: "Model", past: "ModelHistory | None") -> None:
    good = counted.requests - counted.invalid
    streams.print_data(
        f"requests  {count(good)} ({size(counted.bytes)}) for {model.name}"
    )
    if counted.reused:
        streams.print_data(f"reused    {count(counted.reused)}, which are not run")
    streams.print_data(f"input     {count(counted.input_tokens, 'token')}", indent=10)
    if counted.turns:
        turns = count(counted.turns, "later turn")
        streams.print_data(f"          plus the generated answers in {turns}")
    streams.print_data(
        f"output    at most {count(counted.max_output_tokens, 'token')}", indent=10
    )
    if past is not None:
        low, high = past.expected_output_tokens(counted)
        batches = count(past.batches, "previous batch")
        expected = f"{_range(low, high)} expected"
        streams.print_data(f"          {expected}, based on {batches}")
    streams.print_data(f"cost      {_cost_line(counted, model, past)}", indent=10)
    streams.print_data(f"engine    {_engine_line(counted, model, past)}", indent=10)


def _cost_line(
    counted: "TokenCounts", model: "Model", past: "ModelHistory | None"
) -> str:
    if model.price is None:
        return "unknown: the catalog has no price for this model"
    costs = _costs(counted, model.price, past)
    at = f"at prices of {model.price.date}"
    if past is None:
        return f"${costs['min']:f} to ${costs['max']:f}, {at}"
    low, high = costs["expected_low"], costs["expected_high"]
    expected = f"${low:f}" if low == high else f"${low:f} to ${high:f}"
    return f"{expected} expected, at most ${costs['max']:f}, {at}"


def _engine_line(
    counted: "TokenCounts", model: "Model", past: "ModelHistory | None"
) -> str:
    if past is None:
        return "unknown: no batch of this model has ended yet"
    low, high = past.expected_engine_seconds(counted)
    took = duration(low) if low == high else f"{duration(low)} to {duration(high)}"
    if model.gpu_hour is None:
        return took
    costs = [f"${model.engine_cost(seconds):f}" for seconds in (low, high)]
    return f"{took}, {' to '.join(dict.fromkeys(costs))} for the GPUs"


def _range(low: float, high: float) -> str:
    texts = [count(round(number)) for number in (low, high)]
    return " to ".join(dict.fromkeys(texts))


def _show_lines(counted: "TokenCounts", source: "RequestSource") -> None:
    """Print which lines, or rows, can't be run."""
    for number, why in (
        (counted.invalid, "invalid"),
        (counted.too_long, "longer than the model's context length"),
        (counted.refused, "rejected by the model's chat template or tokenizer"),
    ):
        if number:
            what = "line" if source.rows is None else "request"
            streams.info(f"{count(number, what)}: {why}")
    places = list(dict.fromkeys(map(source.place_of, counted.lines)))
    if places:
        listed = ", ".join(map(count, places[:_MAX_LISTED]))
        more = " …" if len(places) > _MAX_LISTED else ""
        streams.info(f"  {source.unit} {listed}{more}")


def _rows_object(counted: "TokenCounts", source: "RequestSource") -> dict[str, Any]:
    """Return what `--json` adds if requests are made of rows."""
    if source.rows is None:
        return {}
    bad = list(dict.fromkeys(map(source.place_of, counted.lines)))
    return {"row_counts": {"total": source.rows_of(counted.requests)}, "rows": bad}
