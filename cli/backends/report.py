"""Says how a batch ended, and what to do next."""

from pathlib import Path

from batchchat.cli.backends.batch_view import Shown
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import count, duration, short
from batchchat.jobs.ledger.cost_limit import MAX_COST
from batchchat.jobs.requests.problems import MAX_LISTED_PROBLEMS, Problem

BAD_ANSWER = 1
"""Exit status when the tool worked and not every request was completed."""

_SHOWN = 20


def report_end(batch: Shown, written: list[Path]) -> int:
    """Report a batch that has ended; return the exit status."""
    if batch.status == "failed":
        return _report_refused(batch)
    counts, usage = batch.request_counts, batch.usage
    colour = "green" if counts.completed == counts.total else "yellow"
    terminal.say(
        f"{terminal.paint(batch.status, colour)}  {count(counts.completed)} of"
        f" {count(counts.total, 'request')}"
        + (f", {count(counts.failed)} failed" if counts.failed else "")
    )
    terminal.say(
        f"  tokens   {short(usage.input_tokens)} in, {short(usage.output_tokens)} out"
    )
    at_limit = batch.cancel_reason == MAX_COST
    limit = " (it came to its `--max-cost`)" if at_limit else ""
    terminal.say(f"  cost     ${batch.estimated_cost:f}{limit}")
    terminal.say(f"  engine   {engine_time(batch)}")
    delivered = batch.delivery.files if batch.delivery else []
    for place in (*map(str, written), *delivered):
        terminal.say(f"  wrote    {terminal.paint(place, 'cyan')}")
    if batch.streamed_requests:
        asked = count(batch.streamed_requests, "request")
        terminal.say(f"  note     {asked} with `stream`; a batch answers whole")
    if not (written or delivered) and counts.completed:
        terminal.hint(f"read the results with `batchchat results {batch.id}`")
    if counts.completed == counts.total:
        return 0
    if counts.failed:
        terminal.hint(f"see what failed with `batchchat results {batch.id} --errors`")
    if counts.completed + counts.failed < counts.total:
        terminal.hint(f"run what never ran with `batchchat retry {batch.id}`")
    return BAD_ANSWER


def engine_time(batch: Shown) -> str:
    """Return how long the engine took, and what that cost where it is known."""
    cost = batch.engine_cost
    took = duration(batch.engine_seconds)
    return took if cost is None else f"{took}, ${cost:f} of GPUs"


def _report_refused(batch: Shown) -> int:
    problems = batch.errors.data if batch.errors else []
    bad, total = batch.invalid_lines, batch.request_counts.total
    show_problems(problems, bad, total, f"`{batch.id}`: the input")
    if bad and bad < total:
        terminal.hint(
            "nothing was run; mend the file, or let the good lines run with"
            " `--on-invalid skip`"
        )
    return BAD_ANSWER


def show_problems(
    problems: list[Problem], invalid: int, requests: int, name: str
) -> None:
    """Print the first problems of a file, aligned by line."""
    lines = count(invalid, "bad line")
    what = f"has {lines} in {count(requests)}" if invalid else "can't be run"
    terminal.say(f"{terminal.paint('error:', 'red')} {name} {what}")
    shown = problems[:_SHOWN]
    width = max((len(count(p.line or 0)) for p in shown), default=1)
    for problem in shown:
        where = f"line {count(problem.line):>{width}}" if problem.line else "the file"
        param = f"{problem.param}: " if problem.param else ""
        terminal.say(f"  {where}  {param}{problem.message}")
    if len(problems) > _SHOWN:
        more = count(len(problems) - _SHOWN, "more problem")
        terminal.say(
            f"  … and {'many more' if len(problems) == MAX_LISTED_PROBLEMS else more}"
        )
