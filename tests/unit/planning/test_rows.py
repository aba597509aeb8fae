"""Planning makes requests of rows, once, whenever it is killed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from msgspec import structs

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.planning.planner import make_plan
from batchchat.jobs.planning.row_conversion import store_request_lines
from batchchat.jobs.planning.scanner import Limits
from batchchat.jobs.results.retry import retry_input, retry_options
from batchchat.jobs.rows.row_options import RowOptions
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import MODEL, EmptyRegistry, Hand, whole
from tests.support.table_rows import parquet_of

QUESTIONS = [f"question {number}" for number in range(5)]
TABLE = parquet_of({"question": QUESTIONS})
ROWS = RowOptions(prompt="{{ question }}", samples=2)


class KilledError(BaseException):
    """The process is killed."""


class MortalStorage(MemoryStorage):
    """Kills the process before or after its `kill_at`-th write."""

    def __init__(self, *, kill_at: int, before: bool) -> None:
        super().__init__()
        self._left = kill_at
        self._before = before
        self.armed = False

    def create(self, key: str, data: bytes) -> bool:
        with self._write():
            return super().create(key, data)

    def put(self, key: str, data: bytes) -> None:
        with self._write():
            super().put(key, data)

    @contextmanager
    def _write(self) -> Iterator[None]:
        self._left -= self.armed
        if self.armed and self._left == 0 and self._before:
            raise KilledError
        yield
        if self.armed and self._left == 0 and not self._before:
            raise KilledError


def lines_of(hand, batch_id):
    batch = hand.ledger.batch(batch_id)
    return hand.storage.get(request_lines_key(hand.ledger.keys, batch)).splitlines()


def test_the_shards_are_ranges_of_the_request_lines():
    hand = Hand(shard_requests=4)
    batch_id = hand.submit(TABLE, rows=ROWS)
    found = lines_of(hand, batch_id)
    assert len(found) == 10
    shards = hand.plan(batch_id).shards
    assert [shard.requests for shard in shards] == [4, 4, 2]
    assert [shard.first_line for shard in shards] == [1, 5, 9]
    results = hand.results(batch_id, shards[2])
    assert {json.loads(one.text)["custom_id"] for one in results} == {
        "row-5-sample-1",
        "row-5-sample-2",
    }


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_a_planner_that_is_killed_at_any_write_is_replaced(kill_at, before):
    undisturbed = Hand()
    expected = lines_of(undisturbed, undisturbed.submit(TABLE, rows=ROWS))
    storage = MortalStorage(kill_at=kill_at, before=before)
    hand = Hand(storage)
    batch_id = hand.submit(TABLE, rows=ROWS, plan=False)
    storage.armed = True
    with suppress(KilledError):
        hand.make_plan(batch_id)
    storage.armed = False
    hand.make_plan(batch_id)
    assert lines_of(hand, batch_id) == expected
    assert hand.plan(batch_id).requests == 10


def test_two_planners_write_the_same_bytes():
    hand = Hand()
    batch_id = hand.submit(TABLE, rows=ROWS)
    first, plan = lines_of(hand, batch_id), hand.plan(batch_id)
    batch = hand.ledger.batch(batch_id)
    hand.storage.delete(request_lines_key(hand.ledger.keys, batch))
    hand.storage.delete(hand.ledger.keys.batch(batch_id).plan)
    hand.make_plan(batch_id)
    assert (lines_of(hand, batch_id), hand.plan(batch_id)) == (first, plan)


def test_request_lines_that_another_planner_has_stored_meanwhile_stay():
    hand = Hand()
    batch = hand.ledger.batch(hand.submit(TABLE, rows=ROWS, plan=False))
    key = request_lines_key(hand.ledger.keys, batch)

    def overtaken(blocks):
        yield from blocks
        hand.storage.put(key, b"those of the other planner")

    assert store_request_lines(hand.ledger, batch, ROWS, overtaken) is None
    assert hand.storage.get(key) == b"those of the other planner"


@pytest.mark.parametrize(("most", "is_planned"), [(10, True), (9, False)])
def test_rows_that_make_too_many_requests_are_a_problem_of_the_batch(most, is_planned):
    hand = Hand()
    table = json.dumps([{"question": text} for text in QUESTIONS]).encode()
    batch = hand.ledger.batch(hand.submit(table, rows=ROWS, plan=False))
    renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
    plan = make_plan(hand.ledger, batch, renderers, Limits(4, 10_000, 4_096, most))
    assert bool(plan.shards) == is_planned
    if not is_planned:
        assert "more than 9 requests" in plan.problems[0].message
        keys = [entry.key for entry in hand.storage.list("")]
        assert request_lines_key(hand.ledger.keys, batch) not in keys


def test_stored_request_lines_are_not_made_again():
    hand = Hand()
    batch_id = hand.submit(TABLE, rows=ROWS)
    batch = hand.ledger.batch(batch_id)
    hand.storage.delete(hand.ledger.keys.batch(batch_id).plan)
    hand.storage.delete(hand.ledger.keys.content(batch.input_file_id))
    hand.make_plan(batch_id)
    assert hand.plan(batch_id).requests == 10


@pytest.mark.parametrize(
    ("data", "rows", "said"),
    [
        (TABLE, RowOptions(prompt="{{ quest }}"), "the prompt names `quest`"),
        (b"PAR1 damaged", ROWS, "is a damaged Parquet file"),
    ],
)
def test_a_problem_of_all_rows_fails_the_batch(data, rows, said):
    hand = Hand()
    state = hand.ledger.state(hand.submit(data, rows=rows))
    errors = batch_object(state).errors
    assert state.status == "failed"
    assert errors
    [problem] = errors.data
    assert (problem.code, problem.param, problem.line) == ("invalid_rows", "rows", None)
    assert said in problem.message
    assert ": " in problem.message  # what to do about it


def test_a_missing_table_fails_the_batch():
    hand = Hand()
    batch_id = hand.submit(TABLE, rows=ROWS, plan=False)
    batch = hand.ledger.batch(batch_id)
    hand.storage.delete(hand.ledger.keys.content(batch.input_file_id))
    with suppress(Exception):
        hand.make_plan(batch_id)
    assert hand.ledger.plan(batch_id) is None  # it may become visible later


def test_a_row_that_cannot_be_rendered_has_error_lines_that_name_it():
    hand = Hand()
    table = parquet_of({"question": ["a", None, "c"]})
    batch_id = hand.submit(table, rows=ROWS)
    plan = hand.plan(batch_id)
    assert (plan.requests, plan.invalid_lines) == (6, 2)
    hand.run(batch_id)
    state = hand.finalize(batch_id)
    assert state.final
    errors = hand.lines(state.final.error_file_id)
    assert [line["custom_id"] for line in errors] == [
        "row-2-sample-1",
        "row-2-sample-2",
    ]
    message = errors[0]["response"]["body"]["error"]["message"]
    assert message == "row 2: the prompt: `question` is null"


def test_two_rows_with_one_id_are_named_in_the_problem():
    hand = Hand()
    table = parquet_of({"id": ["x", "y", "x"], "question": ["a", "b", "c"]})
    rows = RowOptions(prompt="{{ question }}", id_column="id")
    state = hand.ledger.state(hand.submit(table, rows=rows))
    errors = batch_object(state).errors
    assert errors
    [problem] = errors.data
    assert problem.line == 3
    assert problem.message == "`x` is already in row 1"


def test_deleting_the_table_deletes_the_requests_of_its_ended_batches():
    hand = Hand()
    batch_id = hand.submit(TABLE, rows=ROWS)
    batch = hand.ledger.batch(batch_id)
    Files(hand.ledger).use(batch.input_file_id, batch_id)
    hand.run(batch_id)
    hand.finalize(batch_id)
    Files(hand.ledger).delete(batch.input_file_id)
    keys = [entry.key for entry in hand.storage.list("")]
    assert request_lines_key(hand.ledger.keys, batch) not in keys


def test_deleting_reused_answers_keeps_the_requests_of_the_batch_that_reused_them():
    hand = Hand()
    source = hand.ended(whole("q", "text") + b"\n")
    assert source.final
    output = str(source.final.output_file_id)
    batch_id = hand.submit(TABLE, rows=ROWS, reuse=(source.batch.id,))
    Files(hand.ledger).use(output, batch_id)
    hand.run(batch_id, shards=1)
    hand.finalize(batch_id, "expired")
    Files(hand.ledger).delete(output)
    assert len(list(retry_input(hand.ledger, hand.ledger.state(batch_id)))) == 8


def test_a_retry_runs_the_requests_of_rows_that_have_no_result():
    hand = Hand()
    batch_id = hand.submit(TABLE, rows=ROWS)
    hand.run(batch_id, shards=1)
    state = hand.finalize(batch_id, "expired")
    lines = list(retry_input(hand.ledger, state))
    options = retry_options(state.batch)
    assert options.rows is None
    retried = hand.submit(b"".join(lines), **structs.asdict(options))
    hand.run(retried)
    found = hand.finalize(retried)
    assert found.final
    ids = [line["custom_id"] for line in hand.lines(found.final.output_file_id)]
    assert ids == [
        f"row-{row}-sample-{sample}" for row in range(2, 6) for sample in (1, 2)
    ]
