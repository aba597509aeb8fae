"""Ends a batch: writes its results in the order of the input, then a final record.

Any process may do it, more than once, and may be killed anywhere. The files get new
ids; `final.json` is created once and names those that count; and any process that
finds it publishes them, if the one that wrote it did not.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError, NotFoundError, ObjectMissingError
from batchchat.jobs.execution import output_lines
from batchchat.jobs.ids import new_attempt_id, new_file_id, request_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.checkpoint import FinishedLine
from batchchat.jobs.ledger.cost_limit import MAX_COST_REACHED
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.missing_input import (
    INPUT_MISSING,
    MISSING_INPUT_MESSAGE,
    input_is_missing,
)
from batchchat.jobs.ledger.records import (
    Batch,
    Commit,
    Counts,
    File,
    Outcome,
    Plan,
    Shard,
)
from batchchat.jobs.ledger.recovery import read_part, recover
from batchchat.jobs.ledger.repair import has_shard_results
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import publish_file
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.requests.parser import Parser, parse_line
from batchchat.jobs.results.parquet_file import with_parquet_file
from batchchat.jobs.storage.protocol import stream_range

log = logging.getLogger(__name__)

_CORRUPT_RESULT = (
    "result_damaged",
    "The stored result of this request was damaged; retry the batch to rerun it.",
)
_COST_LIMIT_REACHED = (
    MAX_COST_REACHED,
    "This request was not executed because the batch reached its `max_cost`.",
)
_NEVER_RUN = {
    "cancelled": (
        "batch_cancelled",
        "This request could not be executed before the batch was cancelled.",
    ),
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
}


def finalize(ledger: Ledger, batch_id: str, status: str) -> State:
    """End the batch as `completed`, `cancelled` or `expired`; return its state.

    A batch that has ended already, or has failed, is not changed. Holds the results of
    one shard in memory.

    Raises:
        CorruptObjectError: the batch has results, but its plan is missing or corrupt.

    """
    state = ledger.state(batch_id)
    if not state.is_terminal:
        _check_plan(ledger, state)
        writer = _Writer(ledger, state.batch, status, _never_run_reason(status, state))
        outcome = with_parquet_file(ledger, state, writer.write(state.plan))
        key = ledger.keys.batch(batch_id).final
        written = ledger.storage.create(key, records.encode(outcome))
        state = ledger.state(batch_id)
        if not written:  # another finalizer was faster, or a retried create
            _delete_unless_chosen(ledger, outcome, state.final)
    publish_results(ledger, state)
    return state


def _check_plan(ledger: Ledger, state: State) -> None:
    """Check that a batch without a plan has no results, which would be lost."""
    if state.plan is None and has_shard_results(ledger, state.batch.id):
        raise CorruptObjectError(
            f"the plan of `{state.batch.id}` is missing or corrupt, but it has results",
            hint=f"run `batchchat resume {state.batch.id}` to plan it again",
        )


def _never_run_reason(status: str, state: State) -> tuple[str, str]:
    """Return the error code and message for requests that never ran."""
    reached = state.cancel is not None and state.cancel.reason == MAX_COST_REACHED
    if status == "cancelled" and reached:
        return _COST_LIMIT_REACHED
    return _NEVER_RUN[status if status in _NEVER_RUN else "cancelled"]


def publish_results(ledger: Ledger, state: State) -> None:
    """Make the files of a final record visible; repeating it is harmless."""
    final = state.final
    if final is None:
        return
    names = (
        (final.output_file_id, final.output_bytes, "output.jsonl"),
        (final.error_file_id, final.error_bytes, "error.jsonl"),
        (final.parquet_file_id, final.parquet_bytes, "output.parquet"),
    )
    kept = state.batch.output_expires_after
    for file_id, size, name in names:
        if file_id is not None and not _is_visible(ledger, file_id):
            file = File(
                id=file_id,
                bytes=size,
                created_at=final.created_at,
                filename=f"{state.batch.id}_{name}",
                purpose="batch_output",
                expires_at=final.created_at + kept if kept else None,
            )
            publish_file(ledger, file)


def _is_visible(ledger: Ledger, file_id: str) -> bool:
    try:
        ledger.file(file_id)
    except NotFoundError:
        return False
    return True


class _Writer:
    """Writes the output file and the error file of one batch."""

    def __init__(
        self, ledger: Ledger, batch: Batch, status: str, why: tuple[str, str]
    ) -> None:
        self._ledger = ledger
        self._batch = batch
        self._status = status
        self._never_run_reason = why
        self._max_line_bytes = 0
        self._counts = Counts()

    def write(self, plan: Plan | None) -> Outcome:
        """Write both files; return the final record that names them."""
        shards = plan.shards if plan else []
        self._max_line_bytes = plan.max_line_bytes if plan else 0
        commits = [self._commit(shard) for shard in shards]
        with ExitStack() as stack:
            output, errors = (_Lines(self._ledger, stack) for _ in range(2))
            for shard, commit in zip(shards, commits, strict=True):
                good, bad = self._shard(shard, commit)
                output.write(good)
                errors.write(bad)
        return self._outcome(plan, commits, output, errors)

    def _commit(self, shard: Shard) -> Commit:
        """Return the shard's commit; without one, commit its checkpointed results.

        So a cancelled or expired batch keeps its finished results.
        """
        keys = self._ledger.keys.batch(self._batch.id)
        commit = self._ledger.commit(keys, shard.index)
        if commit is None:
            kept = recover(self._ledger.storage, keys, shard.index, shard.line_numbers)
            made = kept.commit(shard.index, new_attempt_id(), self._ledger.now())
            key = keys.commit(shard.index)
            self._ledger.storage.create(key, records.encode(made))
            commit = self._ledger.commit(keys, shard.index)
        if commit is None:
            raise ObjectMissingError(keys.commit(shard.index))
        return commit

    def _shard(self, shard: Shard, commit: Commit) -> tuple[list[bytes], list[bytes]]:
        """Return a shard's lines for the output and the error file, in input order."""
        results = read_results(self._ledger, commit)
        damaged = commit.counts.total - len(results)
        completed = sum(result.completed for result in results.values())
        self._counts += Counts(0, completed, commit.counts.total - completed)
        if len(results) < shard.requests:
            why = _CORRUPT_RESULT if damaged else self._never_run_reason
            for line, text in self._never_run(shard, {*results}, why):
                results[line] = FinishedLine(line, completed=False, text=text)
        good: list[bytes] = []
        bad: list[bytes] = []
        for _, result in sorted(results.items()):
            (good if result.completed else bad).append(result.text)
        return good, bad

    def _never_run(
        self, shard: Shard, done: set[int], why: tuple[str, str]
    ) -> list[tuple[int, bytes]]:
        """Return an error line for each request that is not in `done`.

        If the input file is missing, their custom_ids are unknown.
        """
        try:
            return list(self._without_result(shard, done, why))
        except ObjectMissingError:
            if not input_is_missing(self._ledger, self._batch):
                raise
        missing = (line for line in shard.line_numbers if line not in done)
        return [
            (
                line,
                output_lines.never_run(
                    self._name(line), None, INPUT_MISSING, MISSING_INPUT_MESSAGE
                ),
            )
            for line in islice(missing, shard.requests - len(done))
        ]

    def _name(self, line: int) -> str:
        return request_id(self._batch.id, line)

    def _without_result(
        self, shard: Shard, done: set[int], why: tuple[str, str]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield an error line for each request that is not in `done`."""
        code, message = why
        key = self._ledger.keys.content(self._batch.input_file_id)
        chunks = stream_range(self._ledger.storage, key, shard.offset, shard.length)
        parser = Parser()
        for line in iter_lines(
            chunks,
            self._max_line_bytes,
            offset=shard.offset,
            first_line=shard.first_line,
        ):
            blank = line.raw is not None and not line.raw.strip()
            if not blank and line.number not in done:
                custom_id = parse_line(parser, line, self._max_line_bytes).custom_id
                name = self._name(line.number)
                text = output_lines.never_run(name, custom_id, code, message)
                yield line.number, text

    def _outcome(
        self,
        plan: Plan | None,
        commits: list[Commit],
        output: "_Lines",
        errors: "_Lines",
    ) -> Outcome:
        requests = plan.requests if plan else 0
        usage = sum((c.usage for c in commits), Usage())
        price = plan.model.price if plan and plan.model else None
        return Outcome(
            status=self._status,
            created_at=self._ledger.now(),
            counts=Counts(requests, self._counts.completed, self._counts.failed),
            usage=usage,
            estimated_cost=price.cost(usage) if price else None,
            format=1 if price else 2,
            engine_seconds=sum(commit.engine_seconds for commit in commits),
            output_file_id=output.file_id,
            error_file_id=errors.file_id,
            output_bytes=output.size,
            error_bytes=errors.size,
            attempts=[commit.attempt for commit in commits],
            engines={name: e for c in commits for name, e in c.engines.items()},
        )


class _Lines:
    """A file of lines, which is created when it gets its first line."""

    def __init__(self, ledger: Ledger, stack: ExitStack) -> None:
        self.file_id: str | None = None
        self.size = 0
        self._ledger = ledger
        self._stack = stack

    def write(self, lines: list[bytes]) -> None:
        """Append lines."""
        if not lines:
            return
        if self.file_id is None:
            self.file_id = new_file_id()
            key = self._ledger.keys.content(self.file_id)
            self._content = self._stack.enter_context(self._ledger.storage.writer(key))
        text = b"\n".join([*lines, b""])
        self._content.write(text)
        self.size += len(text)


def read_results(ledger: Ledger, commit: Commit) -> dict[int, FinishedLine]:
    """Return the results that a commit names, by line; of two, the first counts.

    A corrupt checkpoint is left out and logged: it loses its own results, but does not
    fail the batch.
    """
    results: dict[int, FinishedLine] = {}
    for part in commit.parts:
        try:
            read = read_part(ledger.storage, part)
        except (CorruptObjectError, ObjectMissingError) as error:
            log.error("results are lost: %s", error)  # noqa: TRY400 - not a bug
            continue
        for result in read:
            results.setdefault(result.line, result)
    return results


def _delete_unless_chosen(ledger: Ledger, mine: Outcome, final: Outcome | None) -> None:
    """Delete files that the stored final record does not name."""
    if final is not None:
        for file_id in {*mine.file_ids} - {*final.file_ids}:
            ledger.storage.delete(ledger.keys.content(file_id))
