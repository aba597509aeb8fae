"""Compares the cost of a batch, including its unfinished shards, with its limit."""

from collections.abc import Mapping
from dataclasses import replace

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.cost_limit import cost_limit_reached
from batchchat.jobs.ledger.records import Counts
from batchchat.jobs.ledger.state import State


def reaches_cost_limit(
    state: State, progress: Mapping[int, tuple[Counts, Usage]], in_flight: int
) -> bool:
    """Return whether a planned batch must not start more requests.

    `progress` holds the results of shards without a commit, by shard number;
    `in_flight` is the number of requests that engines have.
    """
    if state.batch.max_cost is None:
        return False
    price = state.require_plan().require_model().price
    state = replace(state, running=dict(progress))
    counts, usage = state.counts(), state.usage()
    return cost_limit_reached(state.batch, price, counts, usage, in_flight)
