"""Print the first requests of an input, as `--show` does."""

import textwrap
from itertools import islice
from typing import Any

import msgspec

from batchchat.cli.commands.request_source import RequestSource, open_requests
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.row_arguments import RowArguments
from batchchat.jobs.printable import printable
from batchchat.jobs.requests.line_reader import split_lines
from batchchat.jobs.requests.row_error import read_row_error

_WIDTH = 80


def show_requests(
    files: list[str], rows: RowArguments, model: str | None, number: int, *, json: bool
) -> int:
    """Print the first `number` requests, to be read or as JSON lines; run nothing.

    Raises:
        InputFileError: a file can't be read.
        UsageError: the options are invalid, or do not fit the rows.

    """
    with open_requests(files, rows.first_rows(number), model=model) as source:
        lines = filter(bytes.strip, split_lines(source.read()))
        for at, line in enumerate(islice(lines, number), 1):
            if json:
                streams.print_encoded(line)
            else:
                streams.print_text("\n".join(_shown(source, at, line)) + "\n\n")
    return 0


def _shown(source: RequestSource, number: int, line: bytes) -> list[str]:
    """Return the lines of a request, which fit into 80 columns."""
    error = read_row_error(line)
    place = f"{source.unit} {source.place_of(number):,}"
    if error is not None:
        return [_title(error.custom_id, place), *_field("error", error.row_error)]
    try:
        request = msgspec.json.decode(line)
        body = request.get("body", request)
        messages = body.get("messages")
        parameters = {k: v for k, v in body.items() if k != "messages"}
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError):
        text = line.decode(errors="replace")
        return [_title(place, "no request"), *_field("line", text)]
    title = _title(str(request.get("custom_id", f"request-{number}")), place)
    shown = [part for message in messages or [] for part in _message(message)]
    for name, value in parameters.items():
        if name != "custom_id":
            shown += _field(name, _text(value))
    return [title, *shown]


def _title(name: str, place: str) -> str:
    title = f"── {printable(name)} · {place} "
    return title + "─" * (_WIDTH - len(title))


def _message(message: Any) -> list[str]:
    if not isinstance(message, dict):
        return _field("message", _text(message))
    others = {key: value for key, value in message.items() if key != "role"}
    content = others.pop("content", None) if set(others) == {"content"} else others
    return _field(str(message.get("role")), _text(content))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _field(name: str, text: str) -> list[str]:
    """Return a name and a text beside it, or below it if the name is long."""
    indent, name = 11, printable(name)
    lines = [
        part
        for line in text.split("\n")
        for part in textwrap.wrap(
            line,
            _WIDTH - indent,
            break_on_hyphens=False,
            drop_whitespace=False,
            replace_whitespace=False,
        )
        or [""]
    ]
    first, *rest = [part.rstrip() for part in lines]
    if len(name) >= indent:
        return [name, *(" " * indent + part for part in (first, *rest))]
    return [f"{name:<{indent}}{first}", *(" " * indent + part for part in rest)]
