"""Ids are version 7 UUIDs that sort in the order in which they are made."""

from types import SimpleNamespace
from uuid import UUID

import pytest

from batchchat.jobs import ids


def test_an_id_is_a_version_7_uuid_of_its_time(monkeypatch):
    now_ns = 1_700_000_000_123_456_789
    monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: now_ns))
    made = UUID(ids.new_attempt_id())
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == now_ns // 1_000_000


@pytest.mark.parametrize("step_ns", [250, 1_000, 999_999, 1_000_000, 10**9])
def test_ids_of_one_process_sort_by_time(monkeypatch, step_ns):
    times = iter(
        range(1_700_000_000_000_000_000, 1_700_000_000 * 10**9 + 10**12, step_ns)
    )
    monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: next(times)))
    made = [ids.new_attempt_id() for _ in range(500)]
    assert made == sorted(set(made))
