"""`batchchat validate`: list every problem of a file before it is run."""

from typing import TYPE_CHECKING

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count

if TYPE_CHECKING:
    from batchchat.jobs.planning.scanner import Scan


def validate(
    file: options.File,
    model: options.Model = None,
    on_invalid: options.OnInvalidOption = None,
    json: options.Json = False,
) -> int:
    """Check a file of requests without running it.

    Checks every line and renders every prompt as `submit` does, and lists every problem
    with its line: those that fail the batch, and those that become lines of its error
    file. The exit status is 1 if there are any, as that of `submit` would be.

    batchchat validate requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import INCOMPLETE, ignored_note
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.check_file import check_file, validate_command

    found = check_file(open_session(), file, model, on_invalid)
    if json:
        _print_json(found)
    elif found.problem_count:
        _show(found, file, validate_command(file, model, on_invalid))
    else:
        streams.info(f"`{file}` is valid: {count(found.requests, 'request')}")
    if not json and (note := ignored_note(found.ignored_fields)):
        streams.warn(note)
    return INCOMPLETE if found.problem_count else 0


def _show(found: "Scan", file: str, again: str) -> None:
    """Print the problems: those that fail the batch, then the others.

    `again` is the command that checks the file.
    """
    from batchchat.cli.backends.report import (
        MAX_SHOWN_PROBLEMS,
        list_problems,
        show_invalid,
    )
    from batchchat.jobs.planning.file_problem import NO_MODEL_IN_FILE

    has_bad_lines = any(problem.line for problem in found.problems)
    show_invalid(found.invalid if has_bad_lines else 0, found.requests, f"`{file}`")
    failing = found.failing_problems
    others = found.problem_count - failing
    if failing:
        streams.info(f"{count(failing, 'problem')} would fail the batch:")
        list_problems((p for p in found.problems if found.is_failing(p)), failing)
    if others:
        streams.info(f"{count(others, 'problem')} would be reported in the error file:")
        list_problems((p for p in found.problems if not found.is_failing(p)), others)
    if any(problem.message == NO_MODEL_IN_FILE for problem in found.problems):
        streams.hint(f"choose a model: `{again} --model NAME`")
    elif max(failing, others) > MAX_SHOWN_PROBLEMS:
        streams.hint(f"list all problems with `{again} --json`")
    else:
        streams.hint(f"fix the file, and check it again with `{again}`")


def _print_json(found: "Scan") -> None:
    """Print one JSON object, problem by problem, as there may be millions."""
    from batchchat.jobs.json_lines import encode
    from batchchat.jobs.requests.problems import as_batch_error

    valid = found.requests - found.invalid
    counts = {"total": found.requests, "valid": valid, "invalid": found.invalid}
    summary = {"request_counts": counts, "fails_batch": found.failing_problems > 0}
    head = encode(summary).removesuffix(b"}")
    streams.print_encoded(head + b',"errors":{"object":"list","data":[', end="")
    separator = b""
    for problem in found.problems:
        error = encode(as_batch_error(problem)).removesuffix(b"}")
        fails = encode(found.is_failing(problem))
        text = b'%b%b,"fails_batch":%b}' % (separator, error, fails)
        streams.print_encoded(text, end="")
        separator = b","
    streams.print_encoded(b']},"ignored_fields":%b}' % encode(found.ignored_fields))
