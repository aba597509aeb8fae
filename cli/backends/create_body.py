"""The request that creates a batch on a server."""

from typing import Any

import msgspec

from batchchat.jobs.files.reused_batches import AUTO, NONE
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.requests.schema import ENDPOINT


def create_body(file_id: str, options: BatchOptions) -> dict[str, Any]:
    """Return the body of `POST /v1/batches`."""
    body: dict[str, Any] = {
        "input_file_id": file_id,
        "endpoint": ENDPOINT,
        "completion_window": options.completion_window,
        "metadata": options.metadata,
        "model": options.model,
        "seed": options.seed,
        "priority": options.priority,
    }
    if options.on_invalid is not None:
        body["on_invalid"] = options.on_invalid
    if options.rows is not None:
        body["rows"] = msgspec.to_builtins(options.rows)
    if options.max_cost is not None:
        body["max_cost"] = float(options.max_cost)
    if options.output_format != "jsonl":
        body["output_format"] = options.output_format
    if options.destination is not None:
        body["output"] = options.destination
    if options.table.columns is not None:
        body["output_columns"] = options.table.columns
    if not options.table.response:
        body["output_response"] = False
    if options.table.only_completed:
        body["output_only"] = "completed"
    if options.output_expires_after is not None:
        seconds = options.output_expires_after
        body["output_expires_after"] = {"anchor": "created_at", "seconds": seconds}
    return body | _reuse(options)


def _reuse(options: BatchOptions) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if options.reuse:
        is_word = options.reuse[0] in (AUTO, NONE)
        body["reuse"] = options.reuse[0] if is_word else list(options.reuse)
    if options.reuse_across_engines:
        body["reuse_across_engines"] = True
    return body
