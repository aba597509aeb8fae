"""Bugs to put into the product on purpose: the simulation must find each of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import msgspec

import jobs.finalize
from jobs import record
from jobs.active import Active
from jobs.attempt import Attempt
from jobs.checkpoint import Result
from jobs.create import Options, create_batch
from jobs.errors import EngineDeadError
from jobs.finalize import _Writer, finalize
from jobs.ledger import Ledger, State
from jobs.record import Batch, Commit, File, Outcome, Part, Plan, Shard
from jobs.recovery import Kept, read_part, recover
from jobs.suspicion import Suspicion
from tests.simulation import cluster
from workers.controller import Controller
from workers.dispatcher import Dispatcher
from workers.hint import Hint
from workers.host import Host

Mutation = Callable[[], AbstractContextManager[object]]


def _changed(owner: object, name: str, new: object) -> Mutation:
    return lambda: patch.object(owner, name, new)


def _flush_without_writing(attempt: Attempt) -> None:
    """Count what no checkpoint has."""
    storage = attempt.task.storage
    with patch.object(storage, "put", lambda *_: None):
        _flush(attempt)


_flush = Attempt._flush


def _last_counts(ledger: Ledger, commit: Commit) -> dict[int, Result]:
    return {
        result.line: result
        for part in commit.parts
        for result in read_part(ledger.storage, part)
    }


def _own_commit(writer: _Writer, shard: Shard) -> Commit:
    """Believe that one's own commit is there, whoever was first."""
    keys = writer._ledger.keys.of(writer._batch.id)
    if commit := writer._ledger.commit(keys, shard.index):
        return commit
    kept = recover(writer._ledger.storage, keys, shard.index)
    made = kept.commit(shard.index, "f" * 32, writer._ledger.now())
    writer._ledger.storage.create(keys.commit(shard.index), record.encode(made))
    return made


def _pin_what_is_there_later(writer: _Writer, plan: Plan | None) -> Outcome:
    """Pin what the store says after the files are written."""
    outcome = _write(writer, plan)
    fresh = Ledger(writer._ledger.storage, writer._ledger.project)
    commits = fresh.state(writer._batch.id).commits
    return msgspec.structs.replace(
        outcome, attempts=[commits[at].attempt for at in sorted(commits)]
    )


_write = _Writer.write


def _pin_nothing(writer: _Writer, plan: Plan | None) -> Outcome:
    return msgspec.structs.replace(_write(writer, plan), attempts=[])


def _count_twice(
    kept: Kept, part: Part, results: list[Result], engines: Any = None
) -> None:
    """Count a result as often as it was generated."""
    known, kept.lines = kept.lines, set()
    _add(kept, part, results, engines)
    kept.lines |= known


_add = Kept.add


def _send_once(dispatcher: Dispatcher, queue: str, hint: Hint) -> None:
    """Take a message that was sent for work that will be done."""
    sent = dispatcher.__dict__.setdefault("ever", set())
    if hint.name not in sent:
        sent.add(hint.name)
        _send(dispatcher, queue, hint)


_send = Dispatcher._send


def _convict_at_once(suspicion: Suspicion) -> set[int]:
    return {m.alone[0] for m in suspicion.marks if len(m.alone) == 1}


def _submit_then_index(
    ledger: Ledger, input_file: File, options: Options, *, hand_over: bool
) -> Batch:
    batch = create_batch(ledger, input_file, options)
    if hand_over:
        Active(ledger.storage).add(ledger.project, batch.id)
    return batch


def _leave_the_index_first(ledger: Ledger, batch_id: str, how: str) -> State:
    Active(ledger.storage).remove(ledger.project, batch_id)
    return finalize(ledger, batch_id, how)


def _blame_the_dead(attempt: Attempt) -> bool:
    """Leave a mark whenever an engine is dead, whatever it had."""
    try:
        return _finish(attempt)
    except EngineDeadError:
        attempt._put_mark(alone=attempt._alone)
        raise


_finish = Attempt.finish


def _survive(host: Host, hint: Hint) -> None:
    """Take the end of the process for an error of the shard's."""
    try:
        _host_run(host, hint)
    except BaseException:  # noqa: BLE001, S110 - the bug
        pass


_host_run = Host.run


def _plan_again(controller: Controller, hint: Hint) -> None:
    """Forget what a batch waits for."""
    if hint.what == "plan":
        _controller_run(controller, hint)


_controller_run = Controller.run


MUTATIONS: dict[str, Mutation] = {
    "commit what was never written": _changed(
        Attempt, "_flush", _flush_without_writing
    ),
    "the last result counts": _changed(jobs.finalize, "read_results", _last_counts),
    "results are counted twice": _changed(Kept, "add", _count_twice),
    "a lost create is not read back": _changed(_Writer, "_commit", _own_commit),
    "no attempt is pinned": _changed(_Writer, "write", _pin_nothing),
    "pinned is what came later": _changed(_Writer, "write", _pin_what_is_there_later),
    "a hint is sent once": _changed(Dispatcher, "_send", _send_once),
    "one death convicts": _changed(Suspicion, "convicted", _convict_at_once),
    "a dead engine accuses who came later": _changed(
        Attempt, "finish", _blame_the_dead
    ),
    "marks stay behind": _changed(Attempt, "withdraw", lambda _: None),
    "the index comes after the batch": _changed(
        cluster, "create_batch", _submit_then_index
    ),
    "the index is left before the end": _changed(
        __import__("workers.controller", fromlist=["x"]),
        "finalize",
        _leave_the_index_first,
    ),
    "a kill is swallowed": _changed(Host, "run", _survive),
    "nobody finalizes": _changed(Controller, "run", _plan_again),
}

HARMLESS: dict[str, Mutation] = {"none": nullcontext}
