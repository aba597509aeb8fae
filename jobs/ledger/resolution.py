"""Whether a batch is to end, and how."""

from batchchat.jobs.ledger.state import State


def final_status(state: State, now: int) -> str | None:
    """Return `completed`, `cancelled` or `expired`; None where it goes on.

    `now` is in Unix seconds. A batch whose shards are all committed ends as they
    say, whatever was wished for since.
    """
    if state.is_terminal:
        return None
    if state.plan is not None and not state.pending():
        return _of_commits(state)
    if state.cancelled_at is not None:
        return "cancelled"
    return "expired" if now >= state.batch.expires_at else None


def _of_commits(state: State) -> str:
    """Return how a batch ends whose shards are all committed.

    Some may have been committed short, by a finalizer that was cut off before it
    wrote down why.
    """
    shards = state.require_plan().shards
    if state.commits.counts.total == sum(shard.requests for shard in shards):
        return "completed"
    return "expired" if state.cancelled_at is None else "cancelled"
