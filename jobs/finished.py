"""The results that are there, while a batch runs and after: in the input's order.

Only whole shards are read, up to the first that is not committed, since what is
committed never changes: so the lines seen so far are always the first lines of what
is seen later, and their number is the place to go on from.
"""

from collections.abc import Iterator
from itertools import islice

from jobs.finalize import read_results
from jobs.ledger import Ledger, State
from jobs.rows import Rows


def finished_results(ledger: Ledger, state: State, after: int) -> Iterator[bytes]:
    """Yield the lines past the first `after`, each with its line feed.

    Each is a line of the output or of the error file. Holds one shard.

    Raises:
        CorruptObjectError: a result is not what was written.

    """
    if state.final is not None:
        for row in islice(Rows(ledger, state), after, None):
            yield row.result + b"\n"
    elif state.plan is not None:
        yield from _committed(ledger, state, after)


def _committed(ledger: Ledger, state: State, after: int) -> Iterator[bytes]:
    left = after
    for shard in state.made_plan().shards:
        commit = state.commits.get(shard.index)
        if commit is None or commit.counts.total < shard.requests:
            return
        if left >= commit.counts.total:
            left -= commit.counts.total
            continue
        results = read_results(ledger, commit)
        for line in islice(sorted(results), left, None):
            yield results[line].text + b"\n"
        left = 0
