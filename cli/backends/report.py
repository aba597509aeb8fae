"""Report how a batch ended, and what to do next."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.format import count, duration, short
from batchchat.jobs.ledger.batch_object import BatchObject
from batchchat.jobs.ledger.cost_limit import MAX_COST_REACHED
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.planning.file_problem import NO_MODEL_IN_FILE
from batchchat.jobs.requests.problems import MAX_LISTED_PROBLEMS, BatchError

INCOMPLETE = 1
"""Exit status when the command worked, but not every request completed."""

MAX_SHOWN_PROBLEMS = 20
_MAX_SHOWN_FIELDS = 8


def report_end(batch: BatchObject, written: list[Path]) -> int:
    """Report a batch that has ended, with the files written; return the exit status."""
    if batch.status == "failed":
        report_invalid_input(batch)
        return INCOMPLETE
    counts, usage = batch.request_counts, batch.usage
    color = "green" if _is_complete(counts) else "yellow"
    streams.info(
        streams.Styled(batch.status, color),
        f"  {count(counts.completed)} of {count(counts.total, 'request')}"
        + (f", {count(counts.failed)} failed" if counts.failed else ""),
    )
    streams.info(
        f"  tokens   {short(usage.input_tokens)} in, {short(usage.output_tokens)} out"
    )
    if batch.reused_requests:
        streams.info(f"  reused   {count(batch.reused_requests, 'answer')}")
    is_limited = batch.cancel_reason == MAX_COST_REACHED
    limit = " (stopped at `--max-cost`)" if is_limited else ""
    streams.info(f"  cost     {cost(batch)}{limit}")
    streams.info(f"  engine   {engine_time(batch)}")
    delivered = batch.delivery.files if batch.delivery else []
    for place in (*map(str, written), *delivered):
        streams.info("  wrote    ", streams.Styled(place, "cyan"))
    if note := ignored_note(batch.ignored_fields):
        streams.info("  ", streams.Styled("warning", "yellow"), f"  {note}", indent=11)
    if written or delivered:
        report_renamed_columns(batch, batch.table)
    return _next_steps(batch, is_written=bool(written or delivered))


def _next_steps(batch: BatchObject, *, is_written: bool) -> int:
    """Print what to do with the results; return the exit status."""
    counts = batch.request_counts
    if counts.completed and not is_written:
        streams.hint(f"read the results with `batchchat results {batch.id}`")
    if _is_complete(counts):
        return 0
    if not counts.total:
        streams.hint("submit the file again: the batch ended before it was checked")
    if counts.failed:
        streams.hint(f"see the errors with `batchchat results {batch.id} --errors`")
    if counts.completed + counts.failed < counts.total:
        streams.hint(f"run the remaining requests with `batchchat retry {batch.id}`")
    return INCOMPLETE


def report_renamed_columns(batch: BatchObject, table: TableOptions) -> None:
    """Print which columns of the input have another name in the results."""
    wanted = table.columns
    renamed = [
        f"`{name}` is `{new}`"
        for name, new in batch.renamed_columns.items()
        if wanted is None or name in wanted
    ]
    if renamed:
        shown = ", ".join(renamed[:_MAX_SHOWN_FIELDS])
        more = len(renamed) - _MAX_SHOWN_FIELDS
        shown += f" and {count(more)} more" if more > 0 else ""
        streams.info(
            f"  columns  {shown} in the results, which have a column of that name"
        )


def _is_complete(counts: Counts) -> bool:
    """Return whether all requests completed; a batch without a plan has none."""
    return 0 < counts.total == counts.completed


def cost(batch: BatchObject) -> str:
    """Return the estimated cost, or why it is unknown."""
    if batch.estimated_cost is not None:
        return f"${batch.estimated_cost:f}"
    if batch.in_progress_at is None:
        return "none" if batch.is_terminal else "not known yet"
    return "unknown: no price in the catalog"


def engine_time(batch: BatchObject) -> str:
    """Return how long the engine ran, with the cost of the GPUs if it is known."""
    cost = batch.engine_cost
    time = duration(batch.engine_seconds)
    return time if cost is None else f"{time}, ${cost:f} for the GPUs"


def ignored_note(fields: dict[str, int]) -> str | None:
    """Return a warning about fields without effect, None if there are none.

    `fields` are numbers of requests by field.
    """
    if not fields:
        return None
    most = sorted(fields, key=lambda name: -fields[name])
    shown = [f"`{name}` ({count(fields[name], 'request')})" for name in most]
    more = len(shown) - _MAX_SHOWN_FIELDS
    if more > 0:
        shown = [*shown[:_MAX_SHOWN_FIELDS], f"and {count(more)} more"]
    return f"fields without effect: {', '.join(shown)}"


def report_invalid_input(batch: BatchObject) -> None:
    """Print the problems of a failed batch's input."""
    problems = batch.errors.data if batch.errors else []
    invalid, total = batch.invalid_lines, batch.request_counts.total
    unit = "line" if batch.rows is None else "row"
    show_problems(problems, invalid, total, f"the input of `{batch.id}`", unit)
    hint = "no request was run; fix the file and submit it again"
    if any(problem.message == NO_MODEL_IN_FILE for problem in problems):
        hint = "no request was run; submit the file again with `--model NAME`"
    if 0 < invalid < total:
        hint += ", or run the valid lines with `--on-invalid skip`"
    if len(problems) > MAX_SHOWN_PROBLEMS:
        hint += f"; list all problems with `batchchat status {batch.id} --json`"
    streams.hint(hint)


def show_problems(
    problems: list[BatchError],
    invalid: int,
    requests: int,
    name: str,
    unit: str = "line",
) -> None:
    """Print the first problems of a file, aligned by line, which is a `unit`."""
    has_bad_lines = any(problem.line for problem in problems)
    show_invalid(invalid if has_bad_lines else 0, requests, name)
    list_problems(problems, len(problems), unit)


def show_invalid(invalid: int, requests: int, name: str) -> None:
    """Print how many requests of a file are invalid; 0 for a problem of the file."""
    lines = f"{count(invalid)} of {count(requests, 'request')}"
    verb = "is" if invalid == 1 else "are"
    what = f"{name}: {lines} {verb} invalid" if invalid else f"{name} can't be run"
    streams.info(streams.Styled("error:", "red"), f" {what}", indent=2)


def list_problems(
    problems: Iterable[BatchError], total: int, unit: str = "line"
) -> None:
    """Print the first of `total` problems, aligned by line, which is a `unit`."""
    shown = list(islice(problems, MAX_SHOWN_PROBLEMS))
    width = max((len(count(p.line or 0)) for p in shown), default=1)
    for problem in shown:
        where = f"{unit} {count(problem.line):>{width}}" if problem.line else "the file"
        param = f"{problem.param}: " if problem.param else ""
        indent = 4 + len(where)
        streams.info(f"  {where}  {param}{problem.message}", indent=indent)
    if total > len(shown):
        more = count(total - len(shown), "more problem")
        streams.info(f"  … and {'many more' if total == MAX_LISTED_PROBLEMS else more}")
