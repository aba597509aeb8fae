"""The request lines of what a command's user names: a file of them, or rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from batchchat.cli.terminal.input_file import InputFile, open_input
from batchchat.cli.terminal.paths import expand_user
from batchchat.cli.terminal.row_arguments import RowArguments
from batchchat.cli.terminal.row_input import open_row_input
from batchchat.jobs.errors import UsageError
from batchchat.jobs.rows.result_columns import check_columns
from batchchat.jobs.rows.row_filter import RowFilter
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_reader import open_rows
from batchchat.jobs.rows.row_requests import RowRequests
from batchchat.jobs.storage.protocol import CHUNK_BYTES


@dataclass(frozen=True)
class RequestSource:
    """Request lines; `read` opens them as often as needed.

    `size` is in bytes, None if it is unknown. `rows` says how they were made of rows,
    None if the input holds requests.
    """

    name: str
    read: Callable[[], Iterator[bytes]]
    size: int | None
    rows: RowOptions | None = None

    def place_of(self, line: int) -> int:
        """Return the number of a line's row; without rows, that of the line."""
        return line if self.rows is None else self.rows.row_of(line)

    @property
    def unit(self) -> str:
        """What `place_of` counts."""
        return "line" if self.rows is None else "row"

    def rows_of(self, requests: int) -> int | None:
        """Return of how many rows requests were made, None if of none."""
        return requests // self.rows.samples if self.rows else None


@contextmanager
def open_requests(
    files: Sequence[str], rows: RowArguments, *, model: str | None = None
) -> Iterator[RequestSource]:
    """Yield the request lines of a file, or those that are made of rows.

    `model` becomes the `model` of requests that are made of rows.

    Raises:
        InputFileError: a file can't be read.
        UsageError: the options are invalid, or do not fit the rows.

    """
    options = rows.options()
    if options is None:
        with _opened(single_file(files)) as source:
            yield source
        return
    with open_row_input(files, _filter(rows)) as table, TemporaryFile() as copy:
        reader = open_rows(table.stream, table.name)
        requests = RowRequests(options, reader.schema, model)
        copy.writelines(requests.lines(reader))
        size = copy.tell()

        def read() -> Iterator[bytes]:
            copy.seek(0)
            return iter(lambda: copy.read(CHUNK_BYTES), b"")

        yield RequestSource(" ".join(files), read, size, options)


@contextmanager
def open_batch_input(
    files: Sequence[str],
    rows: RowArguments,
    options: RowOptions | None,
    columns: tuple[str, ...] | None = None,
) -> Iterator[InputFile]:
    """Open what a batch reads: a file of requests, or a table of the chosen rows.

    Raises:
        InputFileError: a file can't be read.
        UsageError: `options` do not fit the rows, or the rows lack one of `columns`.

    """
    if options is None:
        if columns:
            raise UsageError(
                "`--columns` chooses columns of rows, but the input holds requests",
                hint="leave it out, or make requests of rows with `--prompt TEXT`",
            )
        with open_input(single_file(files)) as source:
            yield source
        return
    with open_row_input(files, _filter(rows)) as table:
        schema = open_rows(table.stream, table.name).schema
        RowRequests(options, schema)
        check_columns(columns, schema.names)
        table.stream.seek(0)
        yield table


def _filter(rows: RowArguments) -> RowFilter:
    return RowFilter(rows.where, rows.limit, rows.sample)


def single_file(files: Sequence[str]) -> str:
    """Return the file of requests. Raises `UsageError` if there are several."""
    if len(files) == 1:
        return files[0]
    raise UsageError(
        f"{len(files)} files were given, but requests are read from one",
        hint="join them: `cat FILE… > requests.jsonl`; rows of several files need"
        " `--prompt`, `--prompt-column` or `--template`",
    )


@contextmanager
def _opened(file: str) -> Iterator[RequestSource]:
    """Yield a file of requests.

    Stdin and pipes can be read only once, so they are copied to a temporary file.
    """
    if file != "-" and _is_rereadable(expand_user(file)):
        with open_input(file) as input_file:
            size = input_file.text_size
        yield RequestSource(file, lambda: _read(file), size)
        return
    with TemporaryFile() as copy:
        copy.writelines(_read(file))

        def read() -> Iterator[bytes]:
            copy.seek(0)
            return iter(lambda: copy.read(CHUNK_BYTES), b"")

        yield RequestSource(file, read, copy.tell())


def _is_rereadable(path: Path) -> bool:
    """Return whether it is no pipe; a missing file is reported when it is opened."""
    try:
        return path.is_file() or path.is_dir() or not path.exists()
    except OSError:
        return True


def _read(file: str) -> Iterator[bytes]:
    with open_input(file) as input_file:
        yield from input_file.chunks()
