"""Batches whose input holds rows: the request's `rows`, and its checks."""

from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from batchchat.api.http.errors import ApiError
from batchchat.jobs.errors import InputFileError, UsageError
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.planning.row_conversion import open_input_rows
from batchchat.jobs.requests.input_format import HEAD_BYTES, check_format
from batchchat.jobs.rows.arrow_rows import FILE_MAGIC, STREAM_MAGIC
from batchchat.jobs.rows.file_formats import PARQUET_MAGIC
from batchchat.jobs.rows.row_options import MAX_SAMPLES, RowOptions
from batchchat.jobs.rows.row_requests import RowRequests
from batchchat.jobs.storage.object_file import open_object

_MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Size up to which text, whose types are those of all its values, is read at once."""


class Rows(BaseModel):
    """How the rows of the input file become requests.

    `prompt`, `prompt_column`, or the `messages` of `template` say what is asked.
    Templates are Jinja templates whose variables are the columns.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str | None = Field(None, description="Template of the user's message.")
    prompt_column: str | None = Field(
        None, description="Column of the user's messages, or of lists of messages."
    )
    template: dict[str, Any] | None = Field(
        None,
        description="Body of a request, whose strings are templates. A string that is"
        " one expression, such as `{{ column }}`, keeps the type of its value.",
    )
    system: str | None = Field(
        None, description="Template of a system message before the other messages."
    )
    samples: int = Field(
        1,
        ge=1,
        le=MAX_SAMPLES,
        description="Requests per row, each with a seed of its own.",
    )
    id_column: str | None = Field(
        None, description="Column of the custom_ids; by default `row-1`, `row-2`, …"
    )
    where: str | None = Field(
        None, description="Condition of the rows to use, such as `lang == 'en'`."
    )
    limit: int | None = Field(None, ge=1, description="Use only the first rows.")
    sample: int | None = Field(
        None, ge=1, description="Use only this number of rows, chosen at random."
    )

    def options(self) -> RowOptions:
        """Return the options as they are stored."""
        return msgspec.convert(self.model_dump(), RowOptions)


def check_input(ledger: Ledger, file: File, rows: RowOptions | None) -> File:
    """Check that the file holds what the batch needs: requests, or fitting rows.

    The rows of a large text file are checked when the batch is planned.

    Return the file with the number of its requests as its number of lines, as far as
    that is known before the batch is planned.

    Raises:
        ApiError: it does not.

    """
    try:
        if rows is None:
            key = ledger.keys.content(file.id)
            head = ledger.storage.read(key, 0, HEAD_BYTES) if file.bytes else b""
            check_format(head, file.filename)
            return file
        rows.check()
        if _has_quick_schema(ledger, file):
            RowRequests(rows, open_input_rows(ledger, file.id, rows).schema)
    except UsageError as error:
        is_file = rows is None or isinstance(error, InputFileError)
        param = "input_file_id" if is_file else "rows"
        message = f"{error.message}: {error.hint}." if error.hint else error.message
        raise ApiError(400, message, param=param, code=error.code) from None
    count = _row_count(ledger, file)
    requests = None if count is None else min(count, rows.limit or count) * rows.samples
    return msgspec.structs.replace(file, lines=requests)


def _has_quick_schema(ledger: Ledger, file: File) -> bool:
    """Return whether the columns of a file are known without reading all of it."""
    head = ledger.storage.read(ledger.keys.content(file.id), 0, HEAD_BYTES)
    is_typed = head.startswith((PARQUET_MAGIC, FILE_MAGIC, STREAM_MAGIC))
    return is_typed or file.bytes <= _MAX_TEXT_BYTES


def _row_count(ledger: Ledger, file: File) -> int | None:
    """Return how many rows a file has at most; None if that is not known quickly."""
    import pyarrow.parquet as pq

    key = ledger.keys.content(file.id)
    if ledger.storage.read(key, 0, len(PARQUET_MAGIC)) != PARQUET_MAGIC:
        return file.lines
    metadata = pq.read_metadata(open_object(ledger.storage, key))
    return int(metadata.num_rows)
