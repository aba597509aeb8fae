"""Makes request lines of rows."""

from collections.abc import Iterator
from itertools import chain
from time import thread_time
from typing import TYPE_CHECKING

from batchchat.jobs.engine.sampling import derived_seed
from batchchat.jobs.requests.parameters import MAX_CUSTOM_ID_CHARS
from batchchat.jobs.requests.row_error import RowError
from batchchat.jobs.requests.schema import ENDPOINT
from batchchat.jobs.rows.request_body import Piece, compile_body
from batchchat.jobs.rows.row_columns import RowColumns
from batchchat.jobs.rows.row_fields import encode
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.rows.row_template import require_column

if TYPE_CHECKING:
    import pyarrow as pa

    from batchchat.jobs.rows.row_reader import RowReader

_BLOCK_LINES = 2_048
"""Lines that are made at once; few enough to need little memory."""

_FIRST_BLOCK_ROWS = 16
_BLOCK_SECONDS = 0.25
"""CPU time above which the next block has fewer rows: others compute in between."""


class RowRequests:
    """Makes `samples` lines of each row; a row that can't be rendered has them, too.

    The same rows and options always give the same bytes.
    """

    def __init__(
        self, options: RowOptions, schema: "pa.Schema", model: str | None = None
    ) -> None:
        """Compile the templates; `model` becomes the `model` of each request.

        Raises:
            UsageError: the options contradict each other, a template is invalid, or it
                reads a column that the rows do not have.

        """
        self._options = options
        body = compile_body(options, schema, model)
        self._seed = body.seed
        self._fields = [one for one in body.pieces if not isinstance(one, bytes)]
        self._format = b"".join(map(_format_of, body.pieces))
        if options.id_column is not None:
            require_column(options.id_column, schema.names, "`id_column`")
        self.columns = self._columns()

    def lines(self, reader: "RowReader") -> Iterator[bytes]:
        """Yield the lines of all rows in blocks, each line with its line feed.

        Raises:
            UsageError: a row can't be read, or the template is too slow.

        """
        first = 0
        most = max(1, _BLOCK_LINES // self._options.samples)
        rows = min(most, _FIRST_BLOCK_ROWS)
        for batch in reader.batches():
            begin = 0
            while begin < batch.num_rows:
                block = batch.slice(begin, rows)
                began = thread_time()
                lines = b"".join(self.lines_of(block, first))
                is_slow = thread_time() - began > _BLOCK_SECONDS
                yield lines
                begin += block.num_rows
                first += block.num_rows
                rows = max(1, rows // 2) if is_slow else min(most, 2 * rows)

    def lines_of(self, batch: "pa.RecordBatch", first: int) -> list[bytes]:
        """Return the lines of some rows, whose first one has the number `first`."""
        rows = RowColumns(batch.select(self.columns) if self.columns else batch)
        ids = self._ids(rows, first)
        fields = [field.encoded(rows) for field in self._fields]
        seeds = self._seeds(rows)
        samples = [
            self._sample(number, ids, fields, seeds)
            for number in range(self._options.samples)
        ]
        for at, problem in rows.problems.items():
            for number, lines in enumerate(samples):
                custom_id = ids[at] + self._suffix(number)
                lines[at] = encode(RowError(custom_id, problem)) + b"\n"
        return (
            samples[0] if len(samples) == 1 else [*chain(*zip(*samples, strict=True))]
        )

    def _sample(
        self,
        number: int,
        ids: list[str],
        fields: list[list[bytes]],
        seeds: list[bytes] | None,
    ) -> list[bytes]:
        """Return the lines of one sample of each row."""
        suffix = self._suffix(number)
        names = list(
            map(encode, [f"{name}{suffix}" for name in ids] if suffix else ids)
        )
        head = (
            b'{"custom_id":%%b,"method":"POST","url":"%b","body":{' % ENDPOINT.encode()
        )
        columns = [names]
        if seeds is not None:
            head += b'"seed":%b,'
            columns.append([_sample_seed(seed, number) for seed in seeds])
        template = head + self._format + b"}}\n"
        return list(map(template.__mod__, zip(*columns, *fields, strict=True)))

    def _seeds(self, rows: RowColumns) -> list[bytes] | None:
        """Return the seed of each row, None if the requests name none."""
        if self._seed is None:
            return None
        if isinstance(self._seed, bytes):
            return [self._seed] * rows.count
        return self._seed.encoded(rows)

    def _columns(self) -> list[str]:
        """Return the columns that the requests are made of."""
        ids = [self._options.id_column] if self._options.id_column else []
        seed = self._seed
        seeds = seed.columns if seed and not isinstance(seed, bytes) else []
        read = chain(ids, seeds, *(field.columns for field in self._fields))
        return list(dict.fromkeys(read))

    def _suffix(self, number: int) -> str:
        return f"-sample-{number + 1}" if self._options.samples > 1 else ""

    def _ids(self, rows: RowColumns, first: int) -> list[str]:
        column = self._options.id_column
        if column is None:
            return [
                f"row-{number}" for number in range(first + 1, first + rows.count + 1)
            ]
        ids = [None if value is None else str(value) for value in rows.values(column)]
        most = MAX_CUSTOM_ID_CHARS - len(self._suffix(self._options.samples))
        for at, name in enumerate(ids):
            if not name or len(name) > most:
                what = "null" if name is None else "empty"
                what = f"longer than {most} characters" if name else what
                rows.add_problem(at, f"the ID in column `{column}` is {what}")
                ids[at] = f"row-{first + at + 1}"
        return [str(name) for name in ids]


def sample_seed(seed: int, number: int) -> int:
    """Return the seed of one of the samples of a request that names a seed.

    The first sample, with the number 0, has the seed itself. The others are independent
    of it, and of the seeds that it derives for its choices and turns.
    """
    return derived_seed(seed, f"sample-{number + 1}") if number else seed


def _sample_seed(seed: bytes, number: int) -> bytes:
    """Do the same for JSON; what is no integer stays, and is an invalid seed."""
    if not number or not seed.lstrip(b"-").isdigit():
        return seed
    return b"%d" % sample_seed(int(seed), number)


def _format_of(piece: Piece) -> bytes:
    return piece.replace(b"%", b"%%") if isinstance(piece, bytes) else b"%b"
