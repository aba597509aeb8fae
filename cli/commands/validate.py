"""`batchchat validate`: list every problem of a file before it is run."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import count

if TYPE_CHECKING:
    from batchchat.jobs.requests.problems import Problem


def validate(
    file: options.File,
    model: options.Model = None,
    json: options.Json = False,
) -> int:
    """Check a file of requests without running it.

    Lists every problem with its line. The exit status is 1 if there are any.

    batchchat validate requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import (
        INCOMPLETE,
        MAX_SHOWN_PROBLEMS,
        ignored_note,
        show_problems,
    )
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.check_file import check_file

    found = check_file(open_session(), file, model)
    valid = found.requests - found.invalid
    if json:
        counts = {"total": found.requests, "valid": valid, "invalid": found.invalid}
        _print_json(counts, found.problems, found.ignored_fields)
    elif found.problem_count:
        problems = found.first_problems()
        show_problems(problems, found.invalid, found.requests, f"`{file}`")
        again = f"`batchchat validate {file}"
        streams.hint(
            f"list all problems with {again} --json`"
            if found.problem_count > MAX_SHOWN_PROBLEMS
            else f"fix the file, and check it again with {again}`"
        )
    else:
        streams.info(f"`{file}` is valid: {count(found.requests, 'request')}")
    if not json and (note := ignored_note(found.ignored_fields)):
        streams.info(f"{streams.style('warning:', 'yellow')} {note}")
    return INCOMPLETE if found.problem_count else 0


def _print_json(
    counts: dict[str, int], problems: "Iterable[Problem]", ignored: dict[str, int]
) -> None:
    """Print one JSON object, problem by problem, as there may be millions."""
    from batchchat.jobs.json_lines import encode

    head = b'{"request_counts":%b,"errors":{"object":"list","data":[' % encode(counts)
    streams.print_bytes(head)
    separator = b""
    for problem in problems:
        streams.print_bytes(separator + encode(problem))
        separator = b","
    streams.print_bytes(b']},"ignored_fields":%b}\n' % encode(ignored))
