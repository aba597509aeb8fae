"""The Batch object, as the API and `--json` return it.

It has OpenAI's fields, https://platform.openai.com/docs/api-reference/batch/object,
and then batchchat's own, which OpenAI's clients ignore. The server encodes this struct
and documents it in OpenAPI, and the commands decode it.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.batch_object_parts import (
    BatchErrors,
    BatchUsage,
    Delivery,
    ShardCounts,
    one_of,
)
from batchchat.jobs.ledger.records import Batch, Counts, Plan
from batchchat.jobs.ledger.state import STATUSES, TERMINAL, State
from batchchat.jobs.ledger.table_options import TableOptions
from batchchat.jobs.requests.problems import as_batch_error
from batchchat.jobs.rows.row_options import RowOptions


class BatchObject(msgspec.Struct, frozen=True, kw_only=True):
    """A batch; times are Unix seconds, or null for what has not happened."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    errors: Annotated[
        BatchErrors | None,
        Meta(
            description="Problems that failed the batch. An error in a request's body"
            " is a line of the error file instead."
        ),
    ]
    input_file_id: str
    completion_window: Annotated[
        str,
        Meta(
            description="A duration, or `none` if a command created the batch without"
            " a deadline."
        ),
    ]
    status: Annotated[
        str,
        Meta(extra_json_schema=one_of(*STATUSES)),
    ]
    output_file_id: Annotated[
        str | None,
        Meta(description="File with the results of the completed requests."),
    ]
    error_file_id: Annotated[
        str | None,
        Meta(
            description="File with the errors of the requests that failed or never ran."
        ),
    ]
    created_at: int
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    expires_at: Annotated[
        int | None, Meta(description="When the completion window ends, null if never.")
    ]
    request_counts: Counts
    usage: Annotated[BatchUsage, Meta(description="Number of input and output tokens.")]
    metadata: dict[str, str] | None
    output: Annotated[
        str | None,
        Meta(
            description="URL of the prefix or folder that the results are delivered to."
        ),
    ]
    output_format: Annotated[
        str, Meta(extra_json_schema=one_of("jsonl", "parquet", "both"))
    ]
    output_parquet_file_id: Annotated[
        str | None,
        Meta(description="Parquet file with all results, for `parquet` and `both`."),
    ]
    delivery: Annotated[
        Delivery | None,
        Meta(
            description="State of the delivery to `output`. The status of the batch"
            " does not wait for it."
        ),
    ]
    estimated_cost: Annotated[
        Decimal | None,
        Meta(
            description="US dollars, at catalog prices; null if the model has no price"
            " or is not known yet."
        ),
    ]
    engine_seconds: Annotated[float, Meta(description="Engine time used, in seconds.")]
    engine_cost: Annotated[
        Decimal | None,
        Meta(description="US dollars; null if the catalog has no price per GPU hour."),
    ]
    max_cost: Annotated[Decimal | None, Meta(description="Cost limit in US dollars.")]
    cancel_reason: Annotated[
        str | None,
        Meta(
            description="Why the server cancelled the batch; null if a client did.",
            extra_json_schema=one_of("max_cost_reached", "input_file_missing", None),
        ),
    ]
    priority: Annotated[str, Meta(extra_json_schema=one_of("low", "normal", "high"))]
    seed: Annotated[
        int,
        Meta(
            description="Seed of the batch; requests without one derive theirs from it."
        ),
    ]
    prompt_time: Annotated[
        int | None,
        Meta(description="The time that chat templates read, in Unix seconds."),
    ]
    rows: Annotated[
        RowOptions | None,
        Meta(description="How the rows of the input become requests."),
    ] = None
    retry_of: Annotated[
        str | None, Meta(description="The batch that this one is a retry of.")
    ]
    reuse: Annotated[
        list[str],
        Meta(description="The batches whose answers are used again."),
    ] = []
    reused_requests: Annotated[
        int,
        Meta(
            description="Number of finished requests that were not run, because an"
            " earlier batch has answered them. They cost nothing."
        ),
    ] = 0
    invalid_lines: Annotated[
        int,
        Meta(
            description="Number of input lines that were found to be invalid before"
            " anything was run."
        ),
    ]
    streamed_requests: Annotated[
        int,
        Meta(description="Number of requests that set `stream`, which batches ignore."),
    ]
    ignored_fields: Annotated[
        dict[str, int],
        Meta(description="Numbers of requests, by fields that have no effect."),
    ] = {}
    shards: Annotated[
        ShardCounts | None, Meta(description="Null unless the batch is running.")
    ]
    has_rows: Annotated[
        bool, Meta(description="Whether the results have columns of the input's rows.")
    ] = False
    output_columns: Annotated[
        list[str] | None,
        Meta(description="Which columns of the input's rows; null for all of them."),
    ] = None
    output_response: Annotated[
        bool, Meta(description="Whether tables of the results have the response.")
    ] = True
    output_only: Annotated[str, Meta(extra_json_schema=one_of("all", "completed"))] = (
        "all"
    )
    renamed_columns: Annotated[
        dict[str, str],
        Meta(
            description="Columns of the input's rows whose name is that of a column of"
            " the results, and their names in the results."
        ),
    ] = {}
    engines: Annotated[
        dict[str, Any],
        Meta(
            description="The engines that produced the results, by"
            " `system_fingerprint`."
        ),
    ]

    @property
    def table(self) -> TableOptions:
        """What tables of the results contain."""
        names = self.output_columns
        return TableOptions(
            columns=None if names is None else tuple(names),
            response=self.output_response,
            only_completed=self.output_only == "completed",
        )

    @property
    def is_terminal(self) -> bool:
        """Whether the status is final."""
        return self.status in TERMINAL

    @property
    def is_over(self) -> bool:
        """Whether the status is final and the results are delivered."""
        is_delivering = self.delivery is not None and self.delivery.status == "pending"
        return self.is_terminal and not is_delivering


def batch_object(state: State) -> BatchObject:
    """Return the Batch object of a batch."""
    batch, final, plan = state.batch, state.final, state.plan
    ignored = plan.all_ignored_fields() if plan else {}
    return BatchObject(
        id=batch.id,
        endpoint=batch.endpoint,
        model=_model(state),
        errors=_errors(batch, plan),
        input_file_id=batch.input_file_id,
        completion_window=batch.completion_window,
        status=state.status,
        output_file_id=final.output_file_id if final else None,
        error_file_id=final.error_file_id if final else None,
        created_at=batch.created_at,
        **_times(state),
        expires_at=state.expires_at,
        request_counts=state.counts(),
        usage=_usage(state.usage()),
        metadata=batch.metadata,
        output=batch.destination,
        output_format=batch.output_format,
        output_parquet_file_id=final.parquet_file_id if final else None,
        delivery=_delivery(state),
        estimated_cost=state.cost(),
        engine_seconds=state.engine_seconds(),
        engine_cost=state.engine_cost(),
        max_cost=batch.max_cost,
        cancel_reason=state.cancel.reason if state.cancel else None,
        priority=batch.priority,
        seed=batch.seed,
        prompt_time=batch.prompt_time,
        rows=batch.rows,
        retry_of=batch.retry_of,
        reuse=list(batch.reuse),
        reused_requests=state.reused(),
        invalid_lines=plan.invalid_lines if plan else 0,
        streamed_requests=ignored.get("stream", 0),
        ignored_fields=ignored,
        shards=_shards(state),
        has_rows=batch.has_rows,
        **_table(batch.table),
        renamed_columns=plan.renamed_columns if plan else {},
        engines=final.engines if final else {},
    )


def _table(options: TableOptions) -> dict[str, Any]:
    return {
        "output_columns": None if options.columns is None else [*options.columns],
        "output_response": options.response,
        "output_only": "completed" if options.only_completed else "all",
    }


def _errors(batch: Batch, plan: Plan | None) -> BatchErrors | None:
    if plan is None or not plan.problems:
        return None
    lines_per_row = batch.rows.samples if batch.rows else 1
    found = [as_batch_error(problem, lines_per_row) for problem in plan.problems]
    return BatchErrors(data=list(dict.fromkeys(found)))


def _model(state: State) -> str | None:
    planned = state.plan.model if state.plan else None
    return planned.name if planned else state.batch.model


def _usage(usage: Usage) -> BatchUsage:
    return BatchUsage(
        input_tokens=usage.input_tokens,
        input_tokens_details={"cached_tokens": usage.cached_tokens},
        output_tokens=usage.output_tokens,
        output_tokens_details={"reasoning_tokens": 0},
        total_tokens=usage.input_tokens + usage.output_tokens,
    )


def _shards(state: State) -> ShardCounts | None:
    """Return the numbers of shards of a running batch, None for others."""
    if state.plan is None or state.is_terminal:
        return None
    total = len(state.plan.shards)
    return ShardCounts(total, total - len(state.pending()))


def _delivery(state: State) -> Delivery | None:
    """Return the state of the delivery to the destination, if there is one."""
    if state.batch.destination is None or state.status == "failed":
        return None
    receipt, attempt = state.delivery_receipt, state.delivery_attempt
    if receipt is None:
        return Delivery("pending", None, [], attempt.error if attempt else None)
    status = "failed" if receipt.error else "completed"
    return Delivery(status, receipt.created_at, receipt.files, receipt.error)


def _times(state: State) -> dict[str, Any]:
    plan, final = state.plan, state.final
    rejected = plan is not None and plan.failed()
    ended = {f"{final.status}_at": final.created_at} if final else {}
    return {
        "in_progress_at": plan.created_at if plan and not rejected else None,
        "finalizing_at": final.created_at if final else state.last_commit_at(),
        "completed_at": ended.get("completed_at"),
        "failed_at": plan.created_at if plan and rejected else None,
        "expired_at": ended.get("expired_at"),
        "cancelling_at": state.cancelled_at,
        "cancelled_at": ended.get("cancelled_at"),
    }
