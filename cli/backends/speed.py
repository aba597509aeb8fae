"""How fast a batch runs, and how long it will take, by what is known of it."""

from batchchat.jobs.ledger.batch_object import BatchObject
from batchchat.workers.local.live_speed import Speed

_MIN_RESULTS = 16
"""Results before the time to completion is estimated, or a quarter of the batch."""


def speed_of(batch: BatchObject, tokens_per_second: float) -> Speed | None:
    """Return the speed, with the time that the remaining requests need on average."""
    counts = batch.request_counts
    done = sum(counts.done())
    if tokens_per_second <= 0:
        return None
    if not done or done < min(_MIN_RESULTS, counts.total / 4):
        return Speed(tokens_per_second)
    tokens_each = batch.usage.output_tokens / done
    left = (counts.total - done) * tokens_each / tokens_per_second
    return Speed(tokens_per_second, left)


def average_speed(batch: BatchObject, now: float) -> Speed | None:
    """Return the average speed since the batch was planned."""
    if batch.in_progress_at is None or now <= batch.in_progress_at:
        return None
    seconds = now - batch.in_progress_at
    return speed_of(batch, batch.usage.output_tokens / seconds)
