"""The results that are there, while a batch runs and after: in the input's order.

While it runs only whole shards are read, up to the first that is not committed, since
what is committed never changes: so the lines seen so far are always the first lines of
what is seen later, and their number is the place to go on from. The input is not read:
it may be deleted when the batch has ended.
"""

import sys
from collections.abc import Iterator
from itertools import islice

from batchchat.jobs.ids import request_id
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Outcome
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.results.finalize import read_results


def finished_results(ledger: Ledger, state: State, after: int) -> Iterator[bytes]:
    """Yield the lines past the first `after`, each with its line feed.

    Each is a line of the output or of the error file. Holds one shard.

    Raises:
        ObjectMissingError: the output or the error file was deleted.
        CorruptObjectError: a result is not what was written.

    """
    if state.final is not None:
        yield from islice(_ended(ledger, state, state.final), after, None)
    elif state.plan is not None:
        yield from _committed(ledger, state, after)


def _ended(ledger: Ledger, state: State, final: Outcome) -> Iterator[bytes]:
    """Merge the output and the error file by the ids, which the lines determine."""
    output = _lines(ledger, final.output_file_id)
    errors = _lines(ledger, final.error_file_id)
    good, bad = next(output, b""), next(errors, b"")
    for shard in state.require_plan().shards if final.counts.total else ():
        for number in range(shard.first_line, shard.first_line + shard.lines):
            head = b'{"id":"%b",' % request_id(state.batch.id, number).encode()
            if good.startswith(head):
                yield good + b"\n"
                good = next(output, b"")
            elif bad.startswith(head):
                yield bad + b"\n"
                bad = next(errors, b"")


def _lines(ledger: Ledger, file_id: str | None) -> Iterator[bytes]:
    if file_id is None:
        return
    chunks = ledger.storage.stream(ledger.keys.content(file_id))
    for line in iter_lines(chunks, sys.maxsize):
        yield line.raw or b""


def _committed(ledger: Ledger, state: State, after: int) -> Iterator[bytes]:
    left, keys = after, ledger.keys.batch(state.batch.id)
    for shard in state.require_plan().shards:
        if shard.index not in state.commits:
            return
        if left >= shard.requests:  # it was whole when somebody saw its lines
            left -= shard.requests
            continue
        commit = ledger.commit(keys, shard.index)
        if commit is None or commit.counts.total < shard.requests:
            return
        results = read_results(ledger, commit)
        if len(results) < commit.counts.total:  # damaged; what is left comes at the end
            return
        for line in islice(sorted(results), left, None):
            yield results[line].text + b"\n"
        left = 0
