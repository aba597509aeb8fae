"""Planted bugs: the simulation must find each of them."""

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
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.checkpoint import FinishedLine, Result
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import (
    Batch,
    Commit,
    File,
    Outcome,
    Part,
    Plan,
    Shard,
)
from batchchat.jobs.ledger.recovery import (
    RecoveredResults,
    read_part,
    recover,
    stored_keys,
)
from batchchat.jobs.ledger.state import State
from batchchat.jobs.ledger.submission import create_batch
from batchchat.jobs.results.finalize import _Writer, finalize_state
from batchchat.workers.broker.lease_keeper import LeaseKeeper
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.control.controller import Controller
from batchchat.workers.control.outbox import Outbox
from batchchat.workers.shards.shard_host import ShardHost
from tests.simulation import cluster
from tests.simulation.broker import SimulatedLeases, SimulatedStatusBoard
from tests.simulation.fault_profile import FaultProfile

Apply = Callable[[], AbstractContextManager[object]]


class Mutation(NamedTuple):
    """A bug, the faults that reveal it, and a seed that found it."""

    made: Apply
    draw: Callable[[Random], FaultProfile] = FaultProfile.draw
    first: int = 0


def _changed(owner: object, name: str, new: object) -> Apply:
    return lambda: patch.object(owner, name, new)


def _flush_without_writing(writer: CheckpointWriter) -> None:
    """Count results that no checkpoint has."""
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


def _trust_own_commit(writer: _Writer, shard: Shard) -> Commit:
    """Trust that the own commit was written, even if another one was first."""
    keys = writer._ledger.keys.batch(writer._batch.id)
    if commit := writer._ledger.commit(keys, shard.index):
        return commit
    kept = recover(writer._ledger.storage, keys, shard.index)
    made = kept.commit(shard.index, "f" * 32, writer._ledger.now())
    writer._ledger.storage.create(keys.commit(shard.index), records.encode(made))
    return made


def _pin_later_commits(writer: _Writer, plan: Plan | None) -> Outcome:
    """Pin the commits that exist after the files were written."""
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
    """Trust that a message that was sent will be worked on."""
    sent = outbox.__dict__.setdefault("ever", set())
    if message.name not in sent:
        sent.add(message.name)
        _send(outbox, queue, message, to_front=to_front)


_send = Outbox.send


def _convict_after_one_death(bisection: CrashBisection) -> set[int]:
    return {m.isolated[0] for m in bisection.markers if len(m.isolated) == 1}


def _convict_after_two_deaths(bisection: CrashBisection) -> set[int]:
    """Count a marker that was left behind as an observed death."""
    singles = Counter(m.isolated[0] for m in bisection.markers if len(m.isolated) == 1)
    return {line for line, deaths in singles.items() if deaths > 1}


@contextmanager
def _with_quick_conviction(made: Apply) -> Iterator[None]:
    """Probe the most suspect lines first, and convict after two markers of any kind."""
    with (
        made(),
        patch.object(CrashBisection, "poison_lines", _convict_after_two_deaths),
        patch.object(CrashBisection, "probe_groups", CrashBisection._by_suspicion),
    ):
        yield


def _index_after_submit(
    ledger: Ledger,
    input_file: File,
    options: BatchOptions,
    *,
    enqueue: bool,
    batch_id: str,
) -> Batch:
    batch = create_batch(ledger, input_file, options, batch_id=batch_id)
    if enqueue:
        ActiveIndex(ledger.storage).add(ledger.project, batch.id)
    return batch


def _remove_from_index_first(ledger: Ledger, state: State, how: str) -> State:
    ActiveIndex(ledger.storage).remove(ledger.project, state.batch.id)
    return finalize_state(ledger, state, how)


def _mark_any_death(attempt: Attempt) -> bool:
    """Write a marker whenever the engine is dead, whatever requests it had."""
    try:
        return _finish(attempt)
    except EngineDeadError:
        attempt._write_marker()
        raise


_finish = Attempt.finish


def _swallow_kill(host: ShardHost, message: WorkMessage) -> None:
    """Treat the kill of the process as an error of the shard."""
    with suppress(BaseException):
        _host_run(host, message)


_host_run = ShardHost.run


def _keep_corrupt(_ledger: Ledger, state: State) -> State:
    """Leave corrupt records where they are."""
    return state


def _end_without_its_plan() -> AbstractContextManager[object]:
    """Treat a corrupt plan as one that was never made."""
    stack = ExitStack()
    stack.enter_context(
        patch.object(Controller, "_with_plan", lambda _self, _ledger, state: state)
    )
    stack.enter_context(
        patch.object(batchchat.jobs.results.finalize, "_check_plan", lambda *_: None)
    )
    return stack


def _plan_only(controller: Controller, message: WorkMessage) -> None:
    """Plan batches, but never finalize them."""
    if message.work == "plan":
        _controller_handle(controller, message)


_controller_handle = Controller.handle


MUTATIONS: dict[str, Mutation] = {
    "a commit includes unwritten results": Mutation(
        _changed(CheckpointWriter, "flush", _flush_without_writing)
    ),
    "the last result counts": Mutation(
        _changed(batchchat.jobs.results.finalize, "read_results", _last_counts),
        FaultProfile.racing,
        8,
    ),
    "results are counted twice": Mutation(
        _changed(RecoveredResults, "add", _count_twice), FaultProfile.racing, 8
    ),
    "a lost create is not read back": Mutation(
        _changed(_Writer, "_commit", _trust_own_commit), FaultProfile.racing, 234
    ),
    "only listed checkpoints count at the end": Mutation(
        _changed(batchchat.jobs.results.finalize, "known_keys", stored_keys),
        lambda _: FaultProfile(races=True, store_lists_late=1.0, slowness=3.0),
        58,
    ),
    "no attempt is pinned": Mutation(_changed(_Writer, "write", _pin_nothing)),
    "later commits are pinned": Mutation(
        _changed(_Writer, "write", _pin_later_commits), FaultProfile.racing, 51
    ),
    "a message is sent once": Mutation(_changed(Outbox, "send", _send_once), first=6),
    "one death convicts": Mutation(
        _changed(CrashBisection, "poison_lines", _convict_after_one_death), first=72
    ),
    "a dead engine convicts later requests": Mutation(
        partial(_with_quick_conviction, _changed(Attempt, "finish", _mark_any_death)),
        first=836,
    ),
    "markers are not removed": Mutation(
        partial(_with_quick_conviction, _changed(Attempt, "withdraw", lambda _: None)),
        first=41,
    ),
    "the index entry follows the batch": Mutation(
        _changed(cluster, "create_batch", _index_after_submit), first=0
    ),
    "the index entry is removed before the end": Mutation(
        _changed(
            batchchat.workers.control.controller,
            "finalize_state",
            _remove_from_index_first,
        ),
        first=0,
    ),
    "a kill is swallowed": Mutation(_changed(ShardHost, "run", _swallow_kill)),
    "corrupt records are not quarantined": Mutation(
        _changed(
            batchchat.workers.control.dispatcher,
            "quarantine_corrupt_records",
            _keep_corrupt,
        ),
        first=317,
    ),
    "a corrupt plan counts as missing": Mutation(_end_without_its_plan, first=34),
    "no batch is finalized": Mutation(_changed(Controller, "handle", _plan_only)),
}

HARMLESS = {
    "every lease is granted": _changed(SimulatedLeases, "_sees", lambda *_: False),
    "no lease is renewed": _changed(LeaseKeeper, "_renew", lambda *_: None),
    "stop requests are ignored": _changed(
        SimulatedStatusBoard, "stop_requests", lambda *_: {}
    ),
}
"""Harmless bugs: leases and the status board only spare work."""
