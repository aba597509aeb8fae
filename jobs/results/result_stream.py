"""The finished results of a batch in input order, during and after the run.

A running batch yields the results up to the first request without one. So the lines of
a read are always the first lines of every later read, and a reader continues with the
number of lines that it has. A shard without a commit is read from its checkpoints; see
`CheckpointReader` for when these are final. The input is not read: it may be deleted
when the batch has ended.
"""

import sys
from collections.abc import Iterator
from itertools import islice

from batchchat.jobs.ids import request_id
from batchchat.jobs.ledger.checkpoint import FinishedLine
from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Outcome, Shard
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.results.finalize import read_results


def finished_results(
    ledger: Ledger, state: State, after: int, reader: CheckpointReader | None = None
) -> Iterator[bytes]:
    """Yield the lines past the first `after`, each with its line feed.

    Each is a line of the output or of the error file. Holds one shard. Callers that
    poll a running batch pass the same `reader` each time.

    Raises:
        ObjectMissingError: the output or the error file was deleted.
        CorruptObjectError: a result is not what was written.

    """
    if state.final is not None:
        yield from islice(_ended(ledger, state, state.final), after, None)
    else:
        for result in finished_lines(ledger, state, after, reader):
            yield result.text + b"\n"


def finished_lines(
    ledger: Ledger, state: State, after: int = 0, reader: CheckpointReader | None = None
) -> Iterator[FinishedLine]:
    """Yield the same results of a batch that has not ended."""
    if state.plan is not None:
        reader = reader or CheckpointReader(ledger)
        yield from _unended(ledger, state, after, reader)


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


def _unended(
    ledger: Ledger, state: State, after: int, reader: CheckpointReader
) -> Iterator[FinishedLine]:
    left, keys = after, ledger.keys.batch(state.batch.id)
    for shard in state.require_plan().shards:
        if shard.index not in state.commits:
            lines = _checkpointed(state, shard, reader)
            yield from islice(lines, left, None)
            return
        if left >= shard.requests:  # the caller has seen all its lines
            left -= shard.requests
            continue
        commit = ledger.commit(keys, shard.index)
        if commit is None or commit.counts.total < shard.requests:
            return
        results = read_results(ledger, commit)
        if len(results) < commit.counts.total:  # some are corrupt, until the batch ends
            return
        reader.forget(state, shard.index)
        for line in islice(sorted(results), left, None):
            yield results[line]
        left = 0


def _checkpointed(
    state: State, shard: Shard, reader: CheckpointReader
) -> Iterator[FinishedLine]:
    """Yield the results of a shard's first lines, up to the first without one.

    If the shard has blank lines, it is not known which lines are requests.
    """
    if shard.lines != shard.requests:
        return
    results = reader.results(state, shard.index)
    for line in range(shard.first_line, shard.first_line + shard.lines):
        if line not in results:
            return
        yield FinishedLine(line, results[line].completed, results[line].text)
