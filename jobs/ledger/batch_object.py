"""The Batch object, as the API and `--json` return it.

It has OpenAI's fields, https://platform.openai.com/docs/api-reference/batch/object,
and then batchchat's own, which OpenAI's clients ignore.
"""

from typing import Any

from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.problems import Problem


def batch_object(state: State) -> dict[str, Any]:
    """Return the object. Times are Unix seconds, or null for what has not happened."""
    batch, final = state.batch, state.final
    usage = state.usage()
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": _model(state),
        "errors": _errors(state),
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": state.status,
        "output_file_id": final.output_file_id if final else None,
        "error_file_id": final.error_file_id if final else None,
        "created_at": batch.created_at,
        **_times(state),
        "expires_at": batch.expires_at,
        "request_counts": counts_object(state.counts()),
        "usage": usage.as_batch_usage(),
        "metadata": batch.metadata,
        "output": batch.destination,
        "output_format": batch.output_format,
        "output_parquet_file_id": final.parquet_file_id if final else None,
        "delivery": _delivery(state),
        "estimated_cost": state.cost(),
        "engine_seconds": state.engine_seconds(),
        "engine_cost": state.engine_cost(),
        "max_cost": batch.max_cost,
        "cancel_reason": state.cancel.reason if state.cancel else None,
        "priority": batch.priority,
        "seed": batch.seed,
        "retry_of": batch.retry_of,
        "invalid_lines": state.plan.invalid_lines if state.plan else 0,
        "streamed_requests": state.plan.streamed_requests if state.plan else 0,
        "shards": _shards(state),
        "engines": final.engines if final else {},
    }


def counts_object(counts: Counts) -> dict[str, int]:
    """Return OpenAI's `request_counts`."""
    return {
        "total": counts.total,
        "completed": counts.completed,
        "failed": counts.failed,
    }


def problem_object(problem: Problem) -> dict[str, Any]:
    """Return OpenAI's BatchError."""
    return {
        "code": problem.code,
        "line": problem.line,
        "message": problem.message,
        "param": problem.param,
    }


def _model(state: State) -> str | None:
    planned = state.plan.model if state.plan else None
    return planned.name if planned else state.batch.model


def _errors(state: State) -> dict[str, Any] | None:
    problems = state.plan.problems if state.plan else []
    if not problems:
        return None
    return {"object": "list", "data": [problem_object(p) for p in problems]}


def _shards(state: State) -> dict[str, int] | None:
    """Return the numbers of shards of a running batch, None for others."""
    if state.plan is None or state.is_terminal:
        return None
    total = len(state.plan.shards)
    return {"total": total, "committed": total - len(state.pending())}


def _delivery(state: State) -> dict[str, Any] | None:
    """Return the state of the delivery to the destination, if there is one."""
    if state.batch.destination is None or state.status == "failed":
        return None
    receipt, attempt = state.delivery_receipt, state.delivery_attempt
    if receipt is None:
        error = attempt.error if attempt else None
        return {"status": "pending", "ended_at": None, "files": [], "error": error}
    return {
        "status": "failed" if receipt.error else "completed",
        "ended_at": receipt.created_at,
        "files": receipt.files,
        "error": receipt.error,
    }


def _times(state: State) -> dict[str, int | None]:
    plan, final = state.plan, state.final
    refused = plan is not None and plan.failed()
    ended = {f"{final.status}_at": final.created_at} if final else {}
    failed_at = plan.created_at if plan and refused else None
    return {
        "in_progress_at": plan.created_at if plan and not refused else None,
        "finalizing_at": final.created_at if final else state.last_commit_at(),
        "completed_at": ended.get("completed_at"),
        "failed_at": failed_at,
        "expired_at": ended.get("expired_at"),
        "cancelling_at": state.cancelled_at,
        "cancelled_at": ended.get("cancelled_at"),
    }
