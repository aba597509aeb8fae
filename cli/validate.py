"""`batchchat validate`: everything that is wrong with a file, before it is run."""

from cli import options, terminal
from cli.text import count


def validate(
    file: options.File,
    model: options.Model = None,
    json: options.Json = False,
) -> int:
    """Check a file of requests, line by line, without running it.

    batchchat validate requests.jsonl --model demo
    """
    from cli.checking import check_file
    from cli.report import BAD_ANSWER, show_problems
    from cli.session import open_session
    from jobs.batch_object import problem_object

    found = check_file(open_session(), file, model)
    good = found.requests - found.invalid
    if json:
        counts = {"total": found.requests, "valid": good, "invalid": found.invalid}
        data = [problem_object(problem) for problem in found.problems]
        errors = {"object": "list", "data": data}
        terminal.out_json({"request_counts": counts, "errors": errors})
    elif found.problem_count:
        problems = list(found.problems)
        show_problems(problems, found.invalid, found.requests, f"`{file}`")
        terminal.hint(f"see all as JSON with `batchchat validate {file} --json`")
    else:
        terminal.say(f"`{file}` is good: {count(found.requests, 'request')}")
    if found.streamed and not json:
        lines = count(found.streamed, "request")
        terminal.say(f"note: {lines} with `stream`; a batch answers whole")
    return BAD_ANSWER if found.problem_count else 0
