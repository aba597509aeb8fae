"""What a batch's owner chooses when submitting it."""

from decimal import Decimal
from typing import Any

import msgspec

from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.rows.row_options import RowOptions

DEFAULT_ON_INVALID = "openai"


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may ask of a batch, besides its input.

    Creating, storing and retrying a batch copy these fields as a whole, so that a new
    option is declared here and nowhere else.
    """

    model: str | None = None
    """The model of requests that name none."""

    seed: int | None = None
    prompt_time: int | None = None
    """The time that chat templates read, in Unix seconds; None when it is created."""

    on_invalid: str | None = None
    """Which problems fail the batch: `openai`, `fail` or `skip`, see `fails_batch`;
    None for the default of the place where it is created."""

    completion_window: str = "24h"
    """A duration, or `none`."""

    metadata: dict[str, str] | None = None
    retry_of: str | None = None
    """The batch that this one is a retry of."""

    merge: bool = False
    """Whether the local output of a retry also has the results of that batch."""

    output: str | None = None
    """Where the command line writes the results: an absolute path on its machine."""

    destination: str | None = None
    """The URL that the results are delivered to; see `storage/destination.py`."""

    output_format: str = "jsonl"
    """With `parquet` or `both` the batch has a Parquet file beside its output."""

    priority: str = "normal"
    """Which batches run first if several wait: `low`, `normal` or `high`."""

    output_expires_after: int | None = None
    """How long its output and error files are kept, in seconds; None for ever."""

    engine: dict[str, Any] = {}
    """Engine arguments that override the catalog's while one process runs the batch."""

    max_cost: Decimal | None = None
    """Cost limit in US dollars; see `cost_limit.py`."""

    reuse: tuple[str, ...] = ()
    """The ended batches whose answers are used again where requests are equal. Before
    the batch is created, it may also have `auto` or `none`; see `reused_batches.py`."""

    reuse_across_engines: bool = False
    """Whether answers of other engine versions, precisions and templates are used."""

    rows: RowOptions | None = None
    """How the rows of the input become requests; None if it holds requests."""

    rows_of: str | None = None
    """The batch whose rows the requests belong to, if this one is a retry of it."""

    table: TableOptions = TableOptions()
    """What the Parquet file contains, and the JSON lines of a batch with rows."""

    @property
    def has_rows(self) -> bool:
        """Whether results have the columns of rows."""
        return self.rows is not None or self.rows_of is not None
