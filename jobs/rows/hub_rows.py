"""Rows of a dataset on the Hugging Face Hub, read with the library `datasets`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from typing_extensions import override

from batchchat.jobs.errors import BatchchatError, InputFileError
from batchchat.jobs.rows.column_types import with_usable_columns
from batchchat.jobs.rows.row_errors import listed
from batchchat.jobs.rows.row_reader import RowReader
from batchchat.jobs.rows.schema_union import in_schema

if TYPE_CHECKING:
    import pyarrow as pa

SCHEME = "hf://"
_URL = re.compile(
    r"hf://datasets/(?P<path>[^/@\s]+/[^/@\s]+)(?:@(?P<revision>[^/\s]+))?"
    r"(?:/(?P<config>[^/\s]+))??(?:/(?P<split>[^/\s]+))?/?"
)
_BATCH_ROWS = 1_000


def open_hub_rows(url: str) -> RowReader:
    """Return the rows of `hf://datasets/org/name[@revision][/config][/split]`.

    They are downloaded as they are read. Access to private datasets is configured as
    usual, for example by HF_TOKEN.

    Raises:
        InputFileError: there is no such dataset, revision or split, or the Hub can't be
            reached.

    """
    found = _URL.fullmatch(url)
    if not found:
        raise InputFileError(
            f"`{url}` does not name a dataset",
            hint="use `hf://datasets/org/name`, `hf://datasets/org/name/split` or"
            " `hf://datasets/org/name@revision/split`",
        )
    revision = found["revision"] and unquote(found["revision"])
    splits = _load(url, found["path"], found["config"], revision)
    dataset = _split_of(url, splits, found["split"])
    return with_usable_columns(_HubRows(url, dataset), url)


class _HubRows(RowReader):
    """Reads a dataset as it streams."""

    def __init__(self, url: str, dataset: Any) -> None:
        self._url = url
        with _errors_of(url):
            self._dataset = dataset.with_format("arrow")
            features = self._dataset.features
            first = None if features else next(self._tables(1), None)
        if features:
            self._schema = features.arrow_schema
        elif first is None:
            raise InputFileError(f"`{url}` has no rows", hint="choose another split")
        else:
            self._schema = first.schema

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._schema.remove_metadata()

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        with _errors_of(self._url):
            for table in self._tables(_BATCH_ROWS):
                for batch in table.to_batches():
                    yield in_schema(batch, self.schema, self._url)

    def _tables(self, rows: int) -> Iterator["pa.Table"]:
        return iter(self._dataset.iter(rows))


def _load(url: str, path: str, config: str | None, revision: str | None) -> Any:
    """Return the splits of a dataset, by name."""
    try:
        import datasets
    except ImportError:
        raise InputFileError(
            f"`{url}` needs the library `datasets`",
            hint="install it: `pip install 'batchchat[datasets]'`",
        ) from None
    with _errors_of(url):
        return datasets.load_dataset(
            path, name=config, revision=revision, streaming=True
        )


def _split_of(url: str, dataset: Any, split: str | None) -> Any:
    """Return the split that is named, or the only one."""
    if split is None and len(dataset) == 1:
        return next(iter(dataset.values()))
    if split in dataset:
        return dataset[split]
    example = next(iter(dataset), "train")
    what = f"has no split `{split}`" if split else "has several splits"
    raise InputFileError(
        f"`{url}` {what}; it has {listed(list(dataset))}",
        hint=f"name one of them at the end of the URL, such as `…/{example}`",
    )


@contextmanager
def _errors_of(url: str) -> Iterator[None]:
    """Translate the errors of `datasets`, which has no class for them."""
    try:
        yield
    except BatchchatError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputFileError(
            f"can't read `{url}`: {reason}",
            hint="check the name, the network and, for a private dataset, HF_TOKEN",
        ) from error
