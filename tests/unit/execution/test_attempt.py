"""One attempt at one shard, with engines that misbehave in one way."""

import json
from dataclasses import replace
from functools import partial

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.engine.protocol import Choice, Completion
from batchchat.jobs.errors import EngineDeadError, EngineError
from batchchat.jobs.execution.attempt import Attempt
from batchchat.jobs.execution.context import BatchContext
from batchchat.jobs.execution.engine_gate import EngineGate
from batchchat.jobs.ids import request_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.records import Commit
from batchchat.jobs.planning.planner import make_plan, plan_limits
from batchchat.workers.engine.echo_core import echo
from tests.support.running import ECHO, SETTINGS, Bench, EchoRegistry, lines, renderer


class OddEngine:
    """Answers the first requests, then calls `after` for each."""

    capacity = 8
    steps = 1
    fingerprint = "fp"
    identity = {"engine": "odd"}  # noqa: RUF012 - as the Protocol has it

    def __init__(self, answered, after):
        self.taken, self.dropped, self.prepared_for = [], [], set()
        self._answered = answered
        self._after = after

    def prepare(self, request, batch_id):
        self.prepared_for.add(batch_id)
        return renderer().prepare(request)

    def remaining_context(self, prompt):
        return 512 - len(prompt.token_ids)

    def submit(self, work, on_done, _timeout):
        self.taken.append(work.key)
        good = len(self.taken) <= self._answered
        answer = echo(work) if good else self._after()
        if answer is not None:
            on_done(answer)
        return True

    def abort(self, keys):
        self.dropped += keys


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def attempt(bench, batch_id, engine, **fields):
    """Return an attempt at the batch's first shard, with `fields` in its context."""
    ledger = bench.ledger
    batch = ledger.batch(batch_id)
    renderers = EchoRegistry(Catalog({"echo": ECHO}), bench.locks)
    plan = make_plan(ledger, batch, renderers, plan_limits(SETTINGS))
    context = BatchContext(
        ledger=ledger,
        batch=batch,
        model=ECHO,
        engine=engine,
        stop=bench.stop,
        progress=bench.progress,
        max_line_bytes=SETTINGS.max_line_bytes,
        first_tail_shard=plan.first_tail_shard,
        checkpoint_seconds=60,
    )
    return Attempt(replace(context, **fields), plan.shards[0])


def shard_keys(bench, batch_id):
    keys = bench.ledger.keys.batch(batch_id)
    return [
        entry.key.removeprefix(keys.shard(0))
        for entry in bench.storage.list(keys.shard(0))
    ]


def handed_back(bench, batch_id):
    """Return the checkpoints that the record of the stopped attempt names."""
    keys = bench.ledger.keys.batch(batch_id)
    key = keys.handed_back(0)
    record = records.decode(Commit, bench.storage.get(key), key)
    return [part.key.removeprefix(keys.shard(0)) for part in record.parts]


def test_unanswered_requests_are_aborted_on_stop(bench):
    engine = OddEngine(2, lambda: None)
    tried = attempt(bench, bench.submit(lines(6)), engine)
    tried.feed()
    bench.stop.request(0)
    assert tried.finish() is False
    assert engine.dropped == engine.taken[2:]


def test_a_graceful_stop_checkpoints_results_and_deletes_the_marker(bench):
    batch_id = bench.submit(lines(6))
    tried = attempt(bench, batch_id, OddEngine(2, lambda: None))
    tried.feed()
    bench.stop.request(0)
    tried.finish()
    assert shard_keys(bench, batch_id) == [f"{tried.id}/00000.jsonl"]
    assert handed_back(bench, batch_id) == [f"{tried.id}/00000.jsonl"]


@pytest.mark.parametrize(
    ("tail", "asked"), [(0, [6, 5, 4, 3, 2, 1]), (1, [1, 2, 3, 4, 5, 6])]
)
def test_only_tail_shards_submit_the_longest_first(bench, tail, asked):
    batch_id = bench.submit(lines(6))  # each may be longer than the one before
    engine = OddEngine(6, lambda: None)
    tried = attempt(bench, batch_id, engine, first_tail_shard=tail)
    tried.feed()
    tried.finish()
    names = [request_id(batch_id, line) for line in asked]
    assert [key.partition("-")[0] for key in engine.taken] == names


@pytest.mark.parametrize("death", [EngineDeadError, EngineError])
def test_finished_results_survive_the_death_of_the_engine(bench, death):
    batch_id = bench.submit(lines(6))
    tried = attempt(bench, batch_id, OddEngine(4, partial(death, "gone")))
    tried.feed()
    with pytest.raises(death):
        tried.finish()
    assert handed_back(bench, batch_id) == [f"{tried.id}/00000.jsonl"]
    engine = OddEngine(6, lambda: None)
    again = attempt(bench, batch_id, engine)
    again.feed()
    assert again.finish()
    assert len(engine.taken) == 2


def test_an_engine_that_was_already_dead_leaves_no_marker(bench):
    class Dead(OddEngine):
        def submit(self, *_):
            raise EngineDeadError("gone")

    batch_id = bench.submit(lines(6))
    tried = attempt(bench, batch_id, Dead(0, lambda: None))
    tried.feed()
    with pytest.raises(EngineDeadError):
        tried.finish()
    assert shard_keys(bench, batch_id) == []


def test_waiting_for_the_engine_leaves_no_marker(bench):
    batch_id = bench.submit(lines(6))
    gate = EngineGate()
    gate.acquire(exclusive=True, should_abandon=lambda: False)
    engine = OddEngine(6, lambda: None)
    waiting = attempt(bench, batch_id, engine, engine_gate=gate)
    bench.stop.request(0)
    waiting.feed()
    assert shard_keys(bench, batch_id) == []


def test_the_first_commit_of_concurrent_attempts_counts(bench):
    batch_id = bench.submit(lines(6))
    tries = [attempt(bench, batch_id, OddEngine(6, lambda: None)) for _ in range(2)]
    for tried in tries:
        tried.feed()
    assert [tried.finish() for tried in tries] == [True, True]
    state = bench.run(batch_id)
    assert state.final.attempts == [tries[0].id]
    assert len(bench.results(state)[0]) == 6


def test_a_commit_records_the_engines_of_its_results(bench):
    batch_id = bench.submit(lines(6))
    tried = attempt(bench, batch_id, OddEngine(6, lambda: None))
    tried.feed()
    tried.finish()
    assert bench.run(batch_id).final.engines == {"fp": {"engine": "odd"}}


def answers(bench, batch_id):
    """Return the number of output lines and the codes of the error lines."""
    output, errors = bench.results(bench.run(batch_id))
    return len(output), [e["response"]["body"]["error"]["code"] for e in errors]


def test_prepare_receives_the_batch_id(bench):
    batch_id = bench.submit(lines(2))
    engine = OddEngine(2, lambda: None)
    attempt(bench, batch_id, engine).feed()
    assert engine.prepared_for == {batch_id}


class RustPanic(BaseException):
    """A panic of a tokenizer, which is no `Exception`."""


@pytest.mark.parametrize("bug", [KeyError, RecursionError, OSError, RustPanic])
def test_a_bug_while_preparing_is_an_error_line(bench, bug, caplog):
    class Buggy(OddEngine):
        def prepare(self, request, batch_id):
            if request.custom_id == "q-2":
                raise bug(request.body.messages[0].content)
            return super().prepare(request, batch_id)

    batch_id = bench.submit(lines(6))
    tried = attempt(bench, batch_id, Buggy(6, lambda: None))
    tried.feed()
    assert tried.finish()
    assert answers(bench, batch_id) == (5, ["internal_error"])
    assert bug.__name__ in caplog.text
    assert "question 2" not in caplog.text


GENERATED = {"role": "assistant", "generate": True}
USER = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    "messages",
    [[USER], [USER, GENERATED, USER], [USER, GENERATED]],
    ids=["one", "two", "generated"],
)
def test_an_answer_that_can_t_be_encoded_is_an_error_line(bench, messages):
    class Halving(OddEngine):
        def submit(self, work, on_done, timeout):
            if work.prompt.text != "a":
                return super().submit(work, on_done, timeout)
            half = Choice(index=0, text="\ud800", finish_reason="stop")
            on_done(Completion(choices=[half], prompt_tokens=1, completion_tokens=1))
            return True

    odd = json.dumps({"custom_id": "odd", "messages": messages}).encode()
    batch_id = bench.submit(lines(5) + odd)
    tried = attempt(bench, batch_id, Halving(5, lambda: None))
    tried.feed()
    assert tried.finish()
    assert answers(bench, batch_id) == (5, ["internal_error"])
