"""Says how a batch ended, and what to do next."""

from pathlib import Path

from cli import terminal
from cli.text import count, duration, short
from jobs.ledger import State
from jobs.problem import SHOWN, Problem

BAD_ANSWER = 1
"""Exit status when the tool worked and not every request was completed."""

_SHOWN = 20


def report_end(state: State, written: list[Path]) -> int:
    """Report a batch that has ended; return the exit status."""
    if state.status == "failed":
        return _report_refused(state)
    counts, usage = state.counts(), state.usage()
    colour = "green" if counts.completed == counts.total else "yellow"
    terminal.say(
        f"{terminal.paint(state.status, colour)}  {count(counts.completed)} of"
        f" {count(counts.total, 'request')}"
        + (f", {count(counts.failed)} failed" if counts.failed else "")
    )
    terminal.say(
        f"  tokens   {short(usage.input_tokens)} in, {short(usage.output_tokens)} out"
    )
    terminal.say(f"  cost     ${state.cost():f}")
    terminal.say(f"  engine   {engine_time(state)}")
    for path in written:
        terminal.say(f"  wrote    {terminal.paint(str(path), 'cyan')}")
    streamed = state.made_plan().streamed if state.plan else 0
    if streamed:
        asked = count(streamed, "request")
        terminal.say(f"  note     {asked} with `stream`; a batch answers whole")
    batch_id = state.batch.id
    if not written and counts.completed:
        terminal.hint(f"read the results with `batchchat results {batch_id}`")
    if counts.completed == counts.total:
        return 0
    terminal.hint(f"run what failed again with `batchchat retry {batch_id}`")
    return BAD_ANSWER


def engine_time(state: State) -> str:
    """Return how long the engine took, and what that cost where it is known."""
    cost = state.engine_cost()
    took = duration(state.engine_seconds())
    return took if cost is None else f"{took}, ${cost:f} of GPUs"


def _report_refused(state: State) -> int:
    plan = state.made_plan()
    name = state.batch.id
    show_problems(plan.problems, plan.invalid, plan.requests, f"`{name}`: the input")
    if plan.invalid and plan.invalid < plan.requests:
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
        terminal.say(f"  … and {'many more' if len(problems) == SHOWN else more}")
