"""`batchchat convert`: write the requests that are made of rows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.commands.takes_rows import takes_rows
from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.row_arguments import RowArguments

if TYPE_CHECKING:
    from batchchat.cli.commands.request_source import RequestSource

_MAX_SHOWN_ROWS = 20

_Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="File to write the requests to; - for stdout.",
    ),
]


@takes_rows
def convert(
    files: options.Files,
    output: _Output = "-",
    model: options.Model = None,
    json: options.Json = False,
    *,
    rows: RowArguments,
) -> int:
    """Write the requests that rows become, as a JSONL file.

    The file has OpenAI's format. Rows that can't be rendered are reported and left out;
    the exit status is 1 if there are any.

    batchchat convert rows.csv --prompt '{{ question }}' -o requests.jsonl
    """
    from batchchat.cli.backends.report import INCOMPLETE
    from batchchat.cli.commands.request_source import open_requests
    from batchchat.cli.terminal.input_file import refuse_to_overwrite
    from batchchat.cli.terminal.paths import absolute_output
    from batchchat.jobs.errors import UsageError
    from batchchat.jobs.results.export import write_file

    if rows.options() is None:
        raise UsageError(
            "nothing says how rows become requests",
            hint="add `--prompt '{{ COLUMN }}'`, `--prompt-column COLUMN` or"
            " `--template FILE`",
        )
    path = absolute_output(output)
    if path is not None:
        for file in files:
            refuse_to_overwrite(file, path, "jsonl")
    with open_requests(files, rows, model=model) as source:
        written = _Requests(source)
        if path is None:
            streams.print_results(written)
        else:
            write_file(path, lambda sink: sink.writelines(written))
    written.report(str(path) if path else None, json=json)
    return INCOMPLETE if written.bad_rows else 0


class _Requests:
    """The lines of the requests; counts them, and the rows that have none."""

    def __init__(self, source: "RequestSource") -> None:
        self.lines = 0
        self.bad_rows: dict[int, str] = {}
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        from batchchat.jobs.requests.line_reader import split_lines
        from batchchat.jobs.requests.row_error import read_row_error

        for number, line in enumerate(split_lines(self._source.read()), 1):
            error = read_row_error(line)
            if error is None:
                self.lines += 1
                yield line + b"\n"
            else:
                self.bad_rows[self._source.place_of(number)] = error.row_error

    def report(self, path: str | None, *, json: bool) -> None:
        """Print what was written to `path`, or to stdout, and which rows were not."""
        from batchchat.cli.terminal.format import count

        if json and path is not None:
            rows = [{"row": row, "error": text} for row, text in self.bad_rows.items()]
            streams.print_json(
                {"path": path, "requests": self.lines, "invalid_rows": rows}
            )
            return
        for row, text in list(self.bad_rows.items())[:_MAX_SHOWN_ROWS]:
            streams.info(f"row {row:,}: {text}")
        if len(self.bad_rows) > _MAX_SHOWN_ROWS:
            streams.info(
                f"… and {count(len(self.bad_rows) - _MAX_SHOWN_ROWS, 'more row')}"
            )
        if path is not None:
            streams.info(f"wrote {count(self.lines, 'request')} to `{path}`")
