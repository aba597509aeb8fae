"""`batchchat render`: the exact prompt that each request becomes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli import options, terminal

if TYPE_CHECKING:
    from cli.session import Session
    from jobs.prompt import Prompter
    from jobs.request import Request


def render(
    file: options.File,
    model: options.Model = None,
    json: options.Json = False,
) -> int:
    """Print the prompt of each request, as the model gets it, and its tokens.

    Of a request with turns that the model fills, the prompt of the first of them.

    batchchat render requests.jsonl --model demo
    """
    from cli.report import BAD_ANSWER
    from cli.session import open_session

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
    from cli.input import chunks, open_input
    from jobs.lines import iter_lines
    from jobs.parse import Invalid, Parser
    from jobs.plan import parse_line

    parser = Parser(model)
    most = session.settings.max_line_bytes
    prompters = session.prompters
    with open_input(file) as stream:
        for line in iter_lines(chunks(stream, file), most):
            if line.raw is not None and not line.raw.strip():
                continue
            parsed = parse_line(parser, line, most)
            if isinstance(parsed, Invalid):
                texts = (
                    f"{p.param or ''} {p.message}".strip() for p in parsed.problems
                )
                yield {"line": line.number, "error": "; ".join(texts)}
            else:
                yield _prompt(prompters.of(str(parser.model)), parsed)


def _prompt(prompter: "Prompter", request: "Request") -> dict[str, Any]:
    from jobs.errors import RequestRefusedError
    from jobs.turns import Turns

    try:
        request = Turns(request).next
        prompt = prompter.render(request)
        tokens = len(prompter.tokens(request, prompt)) if prompter.encode else None
    except RequestRefusedError as error:
        return {"line": request.line, "error": f"{error.param}: {error.message}"}
    return {
        "custom_id": request.custom_id,
        "line": request.line,
        "prompt": prompt,
        "prompt_tokens": tokens,
    }
