"""Decides whether a batch has to end, and with which status."""

from batchchat.jobs.ledger.state import State


def final_status(state: State, now: int) -> str | None:
    """Return `completed`, `cancelled` or `expired`, or None if the batch continues.

    `now` is in Unix seconds. Once all shards are committed, their commits determine the
    status, even if a cancellation was requested afterwards.
    """
    if state.is_terminal:
        return None
    if state.plan is not None and not state.pending():
        return _status_of_commits(state)
    if state.cancelled_at is not None:
        return "cancelled"
    return "expired" if state.has_expired(now) else None


def _status_of_commits(state: State) -> str:
    """Return the final status of a batch whose shards are all committed.

    Some commits may lack results: a finalizer wrote them for a batch that was cancelled
    or had expired, and was killed before it wrote the final record.
    """
    plan = state.require_plan()
    if not plan.has_valid_lines:  # its results are the problems of the plan
        return "completed"
    shards = plan.shards
    if state.commits.counts.total == sum(shard.requests for shard in shards):
        return "completed"
    return "expired" if state.cancelled_at is None else "cancelled"
