"""`batchchat render`: the exact prompt that each request becomes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal

if TYPE_CHECKING:
    from batchchat.cli.backends.session import Session
    from batchchat.jobs.prompts.renderer import PromptRenderer
    from batchchat.jobs.requests.schema import Request


def render(
    file: options.File,
    model: options.Model = None,
    json: options.Json = False,
) -> int:
    """Print the prompt of each request, as the model gets it, and its tokens.

    Of a request with turns that the model fills, the prompt of the first of them.

    batchchat render requests.jsonl --model demo
    """
    from batchchat.cli.backends.report import BAD_ANSWER
    from batchchat.cli.backends.session import open_session

    bad = 0
    for line in _rendered(open_session(), file, model):
        if "error" in line:
            bad += 1
            terminal.say(f"line {line['line']:,}: {line['error']}")
        elif json:
            terminal.out_json(line)
        else:
            tokens = line["prompt_tokens"]
            count = "? tokens" if tokens is None else f"{tokens:,} tokens"
            terminal.out(f"── {line['custom_id']} · line {line['line']:,} · {count}")
            terminal.out(line["prompt"])
    return BAD_ANSWER if bad else 0


def _rendered(
    session: "Session", file: str, model: str | None
) -> Iterator[dict[str, Any]]:
    """Yield what each line becomes, or its `error`."""
    from batchchat.cli.terminal.input_file import chunks, open_input
    from batchchat.jobs.requests.line_reader import iter_lines
    from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line

    parser = Parser(model)
    most = session.settings.max_line_bytes
    renderers = session.renderers
    with open_input(file) as stream:
        for line in iter_lines(chunks(stream, file), most):
            if line.raw is not None and not line.raw.strip():
                continue
            parsed = parse_line(parser, line, most)
            if isinstance(parsed, InvalidLine):
                texts = (
                    f"{p.param or ''} {p.message}".strip() for p in parsed.problems
                )
                yield {"line": line.number, "error": "; ".join(texts)}
            else:
                yield _prompt(renderers.get(str(parser.model)), parsed)


def _prompt(renderer: "PromptRenderer", request: "Request") -> dict[str, Any]:
    from batchchat.jobs.engine.conversation import Conversation
    from batchchat.jobs.errors import RequestRefusedError

    try:
        request = Conversation(request).next
        prompt = renderer.render(request)
        tokens = len(renderer.tokenize(request, prompt)) if renderer.encode else None
    except RequestRefusedError as error:
        return {"line": request.line, "error": f"{error.param}: {error.message}"}
    return {
        "custom_id": request.custom_id,
        "line": request.line,
        "prompt": prompt,
        "prompt_tokens": tokens,
    }
