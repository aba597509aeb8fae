"""Bugs to put into the product on purpose: the simulation must find each of them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

import batchchat.jobs.results.finalize
import batchchat.workers.control.controller
import batchchat.workers.control.dispatcher
from batchchat.jobs.errors import EngineDeadError
from batchchat.jobs.execution.attempt import Attempt
from batchchat.jobs.execution.checkpoint_writer import CheckpointWriter
from batchchat.jobs.execution.crash_bisection import CrashBisection
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.checkpoint import FinishedLine, Result
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import (
    Batch,
    BatchOptions,
    Commit,
    File,
    Outcome,
    Part,
    Plan,
    Shard,
)
from batchchat.jobs.ledger.recovery import RecoveredResults, read_part, recover
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.results.finalize import _Writer, finalize
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.outbox import Outbox
from batchchat.workers.shards.shard_host import ShardHost
from tests.simulation import cluster
from tests.simulation.broker import SimulatedLeases, SimulatedStatusBoard
from tests.simulation.fault_profile import FaultProfile

Made = Callable[[], AbstractContextManager[object]]


class Mutation(NamedTuple):
    """A bug, the faults to look for it in, and a seed that found it once."""

    made: Made
    drawn: Callable[[Random], FaultProfile] = FaultProfile.drawn
    first: int = 0


def _changed(owner: object, name: str, new: object) -> Made:
    return lambda: patch.object(owner, name, new)


def _flush_without_writing(writer: CheckpointWriter) -> None:
    """Count what no checkpoint has."""
    storage = writer._context.storage
    with patch.object(storage, "put", lambda *_: None):
        _flush(writer)


_flush = CheckpointWriter.flush


def _last_counts(ledger: Ledger, commit: Commit) -> dict[int, FinishedLine]:
    return {
        result.line: result
        for part in commit.parts
        for result in read_part(ledger.storage, part)
    }


def _own_commit(writer: _Writer, shard: Shard) -> Commit:
    """Believe that one's own commit is there, whoever was first."""
    keys = writer._ledger.keys.batch(writer._batch.id)
    if commit := writer._ledger.commit(keys, shard.index):
        return commit
    kept = recover(writer._ledger.storage, keys, shard.index)
    made = kept.commit(shard.index, "f" * 32, writer._ledger.now())
    writer._ledger.storage.create(keys.commit(shard.index), records.encode(made))
    return made


def _pin_what_is_there_later(writer: _Writer, plan: Plan | None) -> Outcome:
    """Pin what the store says after the files are written."""
    outcome = _write(writer, plan)
    fresh = Ledger(writer._ledger.storage, writer._ledger.project)
    keys = fresh.keys.batch(writer._batch.id)
    commits = [fresh.commit(keys, shard) for shard in range(len(outcome.attempts))]
    return msgspec.structs.replace(
        outcome, attempts=[commit.attempt for commit in commits if commit]
    )


_write = _Writer.write


def _pin_nothing(writer: _Writer, plan: Plan | None) -> Outcome:
    return msgspec.structs.replace(_write(writer, plan), attempts=[])


def _count_twice(
    kept: RecoveredResults, part: Part, results: list[Result], engines: Any = None
) -> None:
    """Count a result as often as it was generated."""
    known, kept.lines = kept.lines, set()
    _add(kept, part, results, engines)
    kept.lines |= known


_add = RecoveredResults.add


def _send_once(
    outbox: Outbox, queue: str, message: WorkMessage, *, to_front: bool = False
) -> None:
    """Take a message that was sent for work that will be done."""
    sent = outbox.__dict__.setdefault("ever", set())
    if message.name not in sent:
        sent.add(message.name)
        _send(outbox, queue, message, to_front=to_front)


_send = Outbox.send


def _convict_at_once(bisection: CrashBisection) -> set[int]:
    return {m.isolated[0] for m in bisection.markers if len(m.isolated) == 1}


def _convict_at_two(bisection: CrashBisection) -> set[int]:
    """Take a mark that was left behind for a death that was seen."""
    singles = Counter(m.isolated[0] for m in bisection.markers if len(m.isolated) == 1)
    return {line for line, deaths in singles.items() if deaths > 1}


@contextmanager
def _and_convicted_soon(made: Made) -> Iterator[None]:
    """Ask the most suspect lines first, and believe in two marks of any kind."""
    with (
        made(),
        patch.object(CrashBisection, "poison_lines", _convict_at_two),
        patch.object(CrashBisection, "probe_groups", CrashBisection._by_suspicion),
    ):
        yield


def _submit_then_index(
    ledger: Ledger, input_file: File, options: BatchOptions, *, enqueue: bool
) -> Batch:
    batch = create_batch(ledger, input_file, options)
    if enqueue:
        ActiveIndex(ledger.storage).add(ledger.project, batch.id)
    return batch


def _leave_the_index_first(ledger: Ledger, batch_id: str, how: str) -> State:
    ActiveIndex(ledger.storage).remove(ledger.project, batch_id)
    return finalize(ledger, batch_id, how)


def _blame_the_dead(attempt: Attempt) -> bool:
    """Leave a mark whenever an engine is dead, whatever it had."""
    try:
        return _finish(attempt)
    except EngineDeadError:
        attempt._write_marker()
        raise


_finish = Attempt.finish


def _survive(host: ShardHost, message: WorkMessage) -> None:
    """Take the end of the process for an error of the shard's."""
    with suppress(BaseException):
        _host_run(host, message)


_host_run = ShardHost.run


def _leave(_ledger: Ledger, state: State) -> State:
    """Leave what can't be read where it is."""
    return state


def _end_without_its_plan() -> AbstractContextManager[object]:
    """Take a plan that can't be read for one that was never made."""
    stack = ExitStack()
    stack.enter_context(
        patch.object(Controller, "_with_plan", lambda _self, _ledger, state: state)
    )
    stack.enter_context(
        patch.object(batchchat.jobs.results.finalize, "_check_plan", lambda *_: None)
    )
    return stack


def _plan_alone(controller: Controller, message: WorkMessage) -> None:
    """Have batches planned, and never ended."""
    if message.work == "plan":
        _controller_handle(controller, message)


_controller_handle = Controller.handle


MUTATIONS: dict[str, Mutation] = {
    "commit what was never written": Mutation(
        _changed(CheckpointWriter, "flush", _flush_without_writing)
    ),
    "the last result counts": Mutation(
        _changed(batchchat.jobs.results.finalize, "read_results", _last_counts),
        FaultProfile.racing,
        3,
    ),
    "results are counted twice": Mutation(
        _changed(RecoveredResults, "add", _count_twice), FaultProfile.racing, 3
    ),
    "a lost create is not read back": Mutation(
        _changed(_Writer, "_commit", _own_commit), FaultProfile.racing, 1175
    ),
    "no attempt is pinned": Mutation(_changed(_Writer, "write", _pin_nothing)),
    "pinned is what came later": Mutation(
        _changed(_Writer, "write", _pin_what_is_there_later), FaultProfile.racing, 160
    ),
    "a message is sent once": Mutation(_changed(Outbox, "send", _send_once), first=6),
    "one death convicts": Mutation(
        _changed(CrashBisection, "poison_lines", _convict_at_once), first=298
    ),
    "a dead engine accuses who came later": Mutation(
        partial(_and_convicted_soon, _changed(Attempt, "finish", _blame_the_dead)),
        first=318,
    ),
    "marks stay behind": Mutation(
        partial(_and_convicted_soon, _changed(Attempt, "withdraw", lambda _: None)),
        first=59,
    ),
    "the index comes after the batch": Mutation(
        _changed(cluster, "create_batch", _submit_then_index), first=4
    ),
    "the index is left before the end": Mutation(
        _changed(
            batchchat.workers.control.controller, "finalize", _leave_the_index_first
        ),
        first=2,
    ),
    "a kill is swallowed": Mutation(_changed(ShardHost, "run", _survive)),
    "nobody mends": Mutation(
        _changed(
            batchchat.workers.control.dispatcher, "quarantine_corrupt_records", _leave
        ),
        first=198,
    ),
    "a damaged plan is none": Mutation(_end_without_its_plan, first=225),
    "nobody finalizes": Mutation(_changed(Controller, "handle", _plan_alone)),
}

HARMLESS = {
    "every lease is granted": _changed(SimulatedLeases, "_sees", lambda *_: False),
    "no lease is renewed": _changed(LeaseKeeper, "_renew", lambda *_: None),
    "nobody is told to stop": _changed(
        SimulatedStatusBoard, "stop_requests", lambda *_: {}
    ),
}
"""What may be broken: leases and status_board spare work and decide nothing."""
