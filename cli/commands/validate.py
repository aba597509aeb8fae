"""`batchchat validate`: list every problem of a file before it is run."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from batchchat.cli.commands.takes_rows import takes_rows
from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count
from batchchat.cli.terminal.row_arguments import RowArguments

if TYPE_CHECKING:
    from batchchat.cli.commands.request_source import RequestSource
    from batchchat.jobs.planning.scanner import Scan
    from batchchat.jobs.requests.problems import BatchError, Problem


@takes_rows
def validate(
    files: options.Files,
    model: options.Model = None,
    on_invalid: options.OnInvalidOption = None,
    json: options.Json = False,
    *,
    rows: RowArguments,
) -> int:
    """Check a file of requests without running it.

    Checks every line and renders every prompt as `submit` does, and lists every problem
    with its line, or row: those that fail the batch, and those that become lines of its
    error file. The exit status is 1 if there are any, as that of `submit` would be.

    batchchat validate requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import INCOMPLETE, ignored_note
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.check_file import check_requests, validate_command
    from batchchat.cli.commands.request_source import open_requests

    session = open_session()
    if model is not None:
        session.catalog.find(model)
    with open_requests(files, rows) as source:
        found = check_requests(session, source, model, on_invalid)
    if json:
        _print_json(found, source)
    elif found.problem_count:
        _show(found, source, validate_command(files, model, on_invalid, rows))
    else:
        made = source.rows_of(found.requests)
        rows_made = "" if made is None else f"{count(made, 'row')}, "
        requests = count(found.requests, "request")
        streams.info(f"`{source.name}` is valid: {rows_made}{requests}")
    if not json and (note := ignored_note(found.ignored_fields)):
        streams.warn(note)
    found.problems.close()
    return INCOMPLETE if found.problem_count else 0


def _show(found: "Scan", source: "RequestSource", again: str) -> None:
    """Print the problems: those that fail the batch, then the others.

    `again` is the command that checks the file.
    """
    from batchchat.cli.backends.report import (
        MAX_SHOWN_PROBLEMS,
        list_problems,
        show_invalid,
    )
    from batchchat.jobs.planning.file_problem import NO_MODEL_IN_FILE

    error_of = _error_of(source)
    has_bad_lines = any(problem.line for problem in found.problems)
    invalid = found.invalid if has_bad_lines else 0
    show_invalid(invalid, found.requests, f"`{source.name}`")
    failing = found.failing_problems
    others = found.problem_count - failing
    if failing:
        streams.info(f"{count(failing, 'problem')} would fail the batch:")
        bad = (error_of(p) for p in found.problems if found.is_failing(p))
        list_problems(bad, failing, source.unit)
    if others:
        streams.info(f"{count(others, 'problem')} would be reported in the error file:")
        bad = (error_of(p) for p in found.problems if not found.is_failing(p))
        list_problems(bad, others, source.unit)
    if any(problem.message == NO_MODEL_IN_FILE for problem in found.problems):
        streams.hint(f"choose a model: `{again} --model NAME`")
    elif max(failing, others) > MAX_SHOWN_PROBLEMS:
        streams.hint(f"list all problems with `{again} --json`")
    else:
        streams.hint(f"fix the file, and check it again with `{again}`")


def _error_of(source: "RequestSource") -> "Callable[[Problem], BatchError]":
    """Return a function that makes errors of problems, with the lines of the input."""
    from batchchat.jobs.requests.problems import as_batch_error

    lines_per_row = source.rows.samples if source.rows else 1
    return lambda problem: as_batch_error(problem, lines_per_row)


def _print_json(found: "Scan", source: "RequestSource") -> None:
    """Print one JSON object, problem by problem, as there may be millions."""
    from batchchat.jobs.json_lines import encode

    valid = found.requests - found.invalid
    counts = {"total": found.requests, "valid": valid, "invalid": found.invalid}
    summary = {"request_counts": counts, "fails_batch": found.failing_problems > 0}
    if source.rows is not None:
        summary["row_counts"] = {"total": source.rows_of(found.requests)}
    head = encode(summary).removesuffix(b"}")
    streams.print_encoded(head + b',"errors":{"object":"list","data":[', end="")
    separator, error_of = b"", _error_of(source)
    for problem in found.problems:
        error = encode(error_of(problem)).removesuffix(b"}")
        fails = encode(found.is_failing(problem))
        text = b'%b%b,"fails_batch":%b}' % (separator, error, fails)
        streams.print_encoded(text, end="")
        separator = b","
    streams.print_encoded(b']},"ignored_fields":%b}' % encode(found.ignored_fields))
