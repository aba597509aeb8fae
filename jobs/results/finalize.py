"""Ends a batch: writes its results in the order of the input, then a final record.

Any process may do it, more than once, and may be killed anywhere. The files get new
ids; `final.json` is created once and names those that count; and any process that
finds it publishes them, if the one that wrote it did not.
"""

import logging
from contextlib import ExitStack
from dataclasses import replace

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.errors import CorruptObjectError, NotFoundError, ObjectMissingError
from batchchat.jobs.ids import new_attempt_id, new_file_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.checkpoint import FinishedLine
from batchchat.jobs.ledger.commit_index import CommitIndex
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import (
    Commit,
    Counts,
    File,
    Outcome,
    Plan,
    Shard,
)
from batchchat.jobs.ledger.recovery import known_keys, read_part, recover
from batchchat.jobs.ledger.repair import has_shard_results
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.stored_files import publish_file
from batchchat.jobs.results.missing_results import MissingResults
from batchchat.jobs.results.parquet_file import with_parquet_file

log = logging.getLogger(__name__)


def finalize(ledger: Ledger, batch_id: str, status: str) -> State:
    """End the batch as `completed`, `cancelled` or `expired`; return its state.

    A batch that has ended already, or has failed, is not changed. Holds the results of
    one shard in memory.

    Raises:
        CorruptObjectError: the batch has results, but its plan is missing or corrupt.

    """
    return finalize_state(ledger, ledger.state(batch_id), status)


def finalize_state(ledger: Ledger, state: State, status: str) -> State:
    """End the batch whose state was just read; see `finalize`."""
    written = False
    if not state.is_terminal:
        _check_plan(ledger, state)
        writer = _Writer(ledger, state, status)
        outcome = with_parquet_file(ledger, state, writer.write(state.plan))
        key = ledger.keys.batch(state.batch.id).final
        written = ledger.storage.create(key, records.encode(outcome))
        final = ledger.outcome(state.batch.id)
        state = replace(state, final=final, commits=CommitIndex())
        if not written:  # another finalizer was faster, or a retried create
            _delete_unless_chosen(ledger, outcome, state.final)
    publish_results(ledger, state, is_new=written)
    return state


def _check_plan(ledger: Ledger, state: State) -> None:
    """Check that a batch without a plan has no results, which would be lost."""
    if state.plan is None and has_shard_results(ledger, state.batch.id):
        raise CorruptObjectError(
            f"the plan of `{state.batch.id}` is missing or corrupt, but it has results",
            hint=f"run `batchchat resume {state.batch.id}` to plan it again",
        )


def publish_results(ledger: Ledger, state: State, *, is_new: bool = False) -> None:
    """Make the files of a final record visible; repeating it is harmless.

    If the record `is_new`, they cannot be visible yet.
    """
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
        if file_id is not None and (is_new or not _is_visible(ledger, file_id)):
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

    def __init__(self, ledger: Ledger, state: State, status: str) -> None:
        self._ledger = ledger
        self._batch = state.batch
        self._status = status
        self._missing = MissingResults(ledger, state, status)
        self._counts = Counts()

    def write(self, plan: Plan | None) -> Outcome:
        """Write both files; return the final record that names them."""
        shards = plan.shards if plan else []
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
            place = self._ledger.storage, keys, shard.index
            kept = recover(*place, shard.line_numbers, known_keys(*place))
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
        failed = commit.counts.total - completed
        if len(results) < shard.requests:
            missing = self._missing.of_shard(shard, {*results}, are_damaged=damaged > 0)
            failed += len(missing) if self._missing.are_failures else 0
            results |= {line.line: line for line in missing}
        self._counts += Counts(0, completed, failed)
        good: list[bytes] = []
        bad: list[bytes] = []
        for _, result in sorted(results.items()):
            (good if result.completed else bad).append(result.text)
        return good, bad

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
            gpu_seconds=_gpu_seconds(commits, plan),
            output_file_id=output.file_id,
            error_file_id=errors.file_id,
            output_bytes=output.size,
            error_bytes=errors.size,
            attempts=[commit.attempt for commit in commits],
            engines={name: e for c in commits for name, e in c.engines.items()},
            reused=sum(commit.reused for commit in commits),
        )


def _gpu_seconds(commits: list[Commit], plan: Plan | None) -> float:
    """Return the GPU time; commits of older versions used the planned engine."""
    planned = plan.model.gpus if plan and plan.model else 1
    return sum(
        commit.engine_seconds * planned
        if commit.gpu_seconds is None
        else commit.gpu_seconds
        for commit in commits
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
