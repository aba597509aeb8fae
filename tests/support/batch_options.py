"""Options of a batch, each with another value than its default."""

from decimal import Decimal
from typing import Any

from batchchat.jobs.ids import new_batch_id
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.rows.row_options import RowOptions

EVERY_OPTION = BatchOptions(
    model="m",
    seed=5,
    prompt_time=1_782_907_200,
    on_invalid="skip",
    completion_window="7d",
    metadata={"team": "blue"},
    retry_of=new_batch_id(),
    merge=True,
    output="/home/user/results.jsonl",
    destination="s3://bucket/exports/default",
    output_format="both",
    priority="high",
    output_expires_after=7_200,
    engine={"max_num_seqs": 8},
    max_cost=Decimal("2.5"),
    reuse=(new_batch_id(),),
    reuse_across_engines=True,
    rows=RowOptions(prompt="{{ question }}", samples=3),
    rows_of=new_batch_id(),
    table=TableOptions(columns=("id",), response=False, only_completed=True),
)


def options_of(options: BatchOptions, *without: str) -> dict[str, Any]:
    """Return the options by name; of a `Batch` only what its user has asked for."""
    names = BatchOptions.__struct_fields__
    return {name: getattr(options, name) for name in names if name not in without}
