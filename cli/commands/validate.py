"""`batchchat validate`: everything that is wrong with a file, before it is run."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import count

if TYPE_CHECKING:
    from batchchat.jobs.requests.problems import Problem


def _print_json(counts: dict[str, int], problems: "Iterable[Problem]") -> None:
    """Print one object, problem by problem: there may be millions."""
    from msgspec.json import encode

    from batchchat.jobs.ledger.batch_object import problem_object

    head = b'{"request_counts":%b,"errors":{"object":"list","data":[' % encode(counts)
    terminal.out_bytes(head)
    between = b""
    for problem in problems:
        terminal.out_bytes(between + encode(problem_object(problem)))
        between = b","
    terminal.out_bytes(b"]}}\n")


def validate(
    file: options.File,
    model: options.Model = None,
    json: options.Json = False,
) -> int:
    """Check a file of requests, line by line, without running it.

    batchchat validate requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import BAD_ANSWER, show_problems
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.check_file import check_file

    found = check_file(open_session(), file, model)
    good = found.requests - found.invalid
    if json:
        counts = {"total": found.requests, "valid": good, "invalid": found.invalid}
        _print_json(counts, found.problems)
    elif found.problem_count:
        problems = found.first_problems()
        show_problems(problems, found.invalid, found.requests, f"`{file}`")
        terminal.hint(f"see all as JSON with `batchchat validate {file} --json`")
    else:
        terminal.say(f"`{file}` is good: {count(found.requests, 'request')}")
    if found.streamed and not json:
        lines = count(found.streamed, "request")
        terminal.say(f"note: {lines} with `stream`; a batch answers whole")
    return BAD_ANSWER if found.problem_count else 0
