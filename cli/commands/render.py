"""`batchchat render`: print the exact prompt of each request."""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from batchchat.cli.commands.takes_rows import takes_rows
from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.row_arguments import RowArguments

if TYPE_CHECKING:
    from batchchat.cli.backends.session import Session
    from batchchat.jobs.prompts.renderer import PromptRenderer
    from batchchat.jobs.requests.parser import InvalidLine
    from batchchat.jobs.requests.schema import Request


@takes_rows
def render(
    files: options.Files,
    model: options.Model = None,
    json: options.Json = False,
    *,
    rows: RowArguments,
) -> int:
    """Print the exact prompt of each request.

    Shows the text that the model receives, with control characters escaped, and its
    number of tokens. For a request with generated turns, it is the prompt of the first
    turn.

    batchchat render requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import INCOMPLETE
    from batchchat.cli.backends.session import open_session

    invalid = 0
    for line in _rendered(open_session(), files, rows, model):
        unit = "row" if "row" in line else "line"
        if "error" in line:
            invalid += 1
            streams.info(f"{unit} {line[unit]:,}: {line['error']}")
        elif json:
            streams.print_json(line)
        else:
            tokens = line["prompt_tokens"]
            count = "? tokens" if tokens is None else f"{tokens:,} tokens"
            streams.print_data(
                f"── {line['custom_id']} · {unit} {line[unit]:,} · {count}"
            )
            streams.print_text(f"{line['prompt']}\n")
    return INCOMPLETE if invalid else 0


def _rendered(
    session: "Session", files: list[str], rows: RowArguments, model: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the prompt of each line, or its `error`."""
    from batchchat.cli.commands.request_source import open_requests
    from batchchat.jobs.requests.line_reader import iter_lines
    from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line

    parser = Parser(model, names=session.catalog.names)
    max_bytes = session.settings.max_line_bytes
    renderers = session.renderers
    again = shlex.join(["batchchat", "render", *files, *rows.words()])
    with open_requests(files, rows) as source:
        for line in iter_lines(source.read(), max_bytes):
            if line.raw is not None and not line.raw.strip():
                continue
            parsed = parse_line(parser, line, max_bytes)
            place = {source.unit: source.place_of(line.number)}
            if isinstance(parsed, InvalidLine):
                _require_model(parsed, source.name, again)
                texts = (
                    f"{p.param}: {p.message}" if p.param else p.message
                    for p in parsed.problems
                )
                yield {**place, "error": "; ".join(texts)}
            else:
                yield _prompt(renderers.get(str(parser.model)), parsed, place)


def _require_model(line: "InvalidLine", name: str, again: str) -> None:
    """Raise `UsageError` for a line that names no model, as others will be the same."""
    from batchchat.jobs.errors import UsageError
    from batchchat.jobs.requests.parser import NO_MODEL

    if any(problem.message == NO_MODEL for problem in line.problems):
        raise UsageError(
            f"line {line.line:,} of `{name}` names no model",
            hint=f"choose one: `{again} --model demo`",
        )


def _prompt(
    renderer: "PromptRenderer", request: "Request", place: dict[str, int]
) -> dict[str, Any]:
    from batchchat.jobs.engine.conversation import Conversation
    from batchchat.jobs.errors import RequestRefusedError

    try:
        request = Conversation(request).next_request
        prompt = renderer.render(request)
        tokens = len(renderer.tokenize(request, prompt)) if renderer.encode else None
    except RequestRefusedError as error:
        return {**place, "error": f"{error.param}: {error.message}"}
    return {
        "custom_id": request.custom_id,
        **place,
        "prompt": prompt,
        "prompt_tokens": tokens,
    }
