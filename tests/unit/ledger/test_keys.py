"""Keys are made from checked ids only; ids sort by time."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.errors import NotFoundError, UsageError
from batchchat.jobs.ids import (
    checked_id,
    checked_project,
    new_attempt_id,
    new_batch_id,
    new_file_id,
    request_id,
)
from batchchat.jobs.ledger.keys import Keys
from batchchat.jobs.storage.protocol import checked_key

MAKERS = {"batch": new_batch_id, "file": new_file_id}
DIGITS = "0123456789abcdef" * 2


@pytest.mark.parametrize("make", [new_batch_id, new_file_id, new_attempt_id])
def test_later_ids_sort_after_earlier_ones(make):
    ids = []
    for _ in range(5):
        ids.append(make())
        millisecond = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 == millisecond:
            pass
    assert ids == sorted(set(ids))


def test_an_id_is_a_version_7_uuid_of_now():
    digits = new_attempt_id()
    assert re.fullmatch("[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", digits)
    assert abs(int(digits[:12], 16) / 1000 - time.time()) < 60


def test_ids_made_at_once_differ():
    assert len({new_batch_id() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("kind", MAKERS)
def test_an_id_passes_its_own_check_and_no_other(kind):
    value = MAKERS[kind]()
    assert checked_id(kind, value) == value
    (other,) = set(MAKERS) - {kind}
    with pytest.raises(NotFoundError):
        checked_id(other, value)


@pytest.mark.parametrize(
    "value",
    [
        *["", "batch_", "batch_1", f"batch_{DIGITS}0", f"batch_{DIGITS.upper()}"],
        *[f"batch_{DIGITS}\n", f" batch_{DIGITS}", DIGITS, "../x", f"batch_{DIGITS}/"],
    ],
)
def test_an_invalid_id_is_not_found(value):
    with pytest.raises(NotFoundError):
        checked_id("batch", value)


@pytest.mark.parametrize("name", ["default", "a", "0-a_b", "a" * 63])
def test_a_plain_project_name_is_valid(name):
    assert checked_project(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "_a", "a/b", "..", "a\n", "ä", "a" * 64]
)
def test_a_project_name_cannot_change_the_path(name):
    with pytest.raises(UsageError):
        Keys(name)


def test_every_key_is_a_valid_storage_key():
    keys = Keys("default")
    of = keys.batch(new_batch_id())
    file, attempt = new_file_id(), new_attempt_id()
    made = [
        of.batch,
        of.plan,
        of.problems,
        of.requests,
        of.cancel,
        of.final,
        of.commit(3),
    ]
    made += [of.attempt_marker(3, attempt), of.checkpoint(3, attempt, 1)]
    made += [keys.file(file), keys.content(file)]
    assert [checked_key(key) for key in made] == made
    assert len(set(made)) == len(made)


def test_keys_begin_with_the_prefix_of_their_parent():
    keys = Keys("p")
    of = keys.batch(new_batch_id())
    assert of.batch.startswith(keys.batches() + "/")
    assert of.commit(1).startswith(of.commits)
    assert of.attempt_marker(1, "a").startswith(of.shard(1))
    assert of.checkpoint(1, "a", 0).startswith(of.shard(1))
    assert not of.checkpoint(10, "a", 0).startswith(of.shard(1))


@given(st.integers(0, 99_998))
def test_keys_of_shards_sort_by_their_number(shard):
    of = Keys("p").batch(f"batch_{DIGITS}")
    assert of.commit(shard) < of.commit(shard + 1)
    assert of.checkpoint(0, "a", shard) < of.checkpoint(0, "a", shard + 1)


def test_a_result_s_id_depends_on_its_batch_and_line_alone():
    assert request_id("batch_a", 1) == "batch_req_3e4732fedd1b317a37d3af783ad56e80"
    ids = {request_id(batch, line) for batch in "ab" for line in range(500)}
    assert len(ids) == 1_000
