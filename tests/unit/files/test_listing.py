"""Pages have each file once, in order, and list no more than they need."""

from random import Random

import pytest

from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File
from batchchat.jobs.storage import MemoryStorage

NOW = 2_000_000_000
DAY = 86_400
PURPOSES = ("batch", "batch_output", "evals")


class Counting(MemoryStorage):
    """Counts the objects that listings bring, and the records that are read."""

    listed = got = 0

    def list(self, prefix, start_after=""):
        for entry in super().list(prefix, start_after):
            self.listed += 1
            yield entry

    def get(self, key):
        self.got += 1
        return super().get(key)


@pytest.fixture
def ledger():
    return Ledger(Counting(), "p", lambda: NOW)


def put_file(ledger, age, number, purpose="batch", expires_at=None):
    """Store a file that is so old; return it."""
    file_id = f"file_{(NOW - age) * 1000:012x}{number:020x}"
    file = File(
        id=file_id,
        filename="in.jsonl",
        bytes=1,
        created_at=NOW - age,
        purpose=purpose,
        expires_at=expires_at,
    )
    ledger.storage.put(ledger.keys.file(file_id), records.encode(file))
    ledger.storage.put(ledger.keys.content(file_id), b"x")
    return file


def ids_of(ledger, *, newest_first, limit, purpose=None):
    """Return all ids, page by page."""
    seen, after, has_more = [], None, True
    while has_more:
        files, has_more = Files(ledger).page(
            after=after, limit=limit, newest_first=newest_first, purpose=purpose
        )
        assert len(files) == limit or not has_more
        seen += [file.id for file in files]
        after = seen[-1] if seen else None
    return seen


@pytest.fixture
def many(ledger):
    """Files of all ages: more than are listed whole, some deleted, some over."""
    random, there = Random(4), []
    for number in range(900):
        age = int(
            random.choice([60, 3_600, DAY, 30 * DAY, 900 * DAY]) * random.random()
        )
        over = NOW - 1 if number % 7 == 0 else None
        file = put_file(ledger, age, number, random.choice(PURPOSES), over)
        if number % 5 == 0:
            ledger.storage.put(ledger.keys.deleted(file.id), b"{}")
        elif over is None:
            there.append(file)
    return there


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("limit", [7, 100, 10_000])
@pytest.mark.parametrize("purpose", [None, *PURPOSES, "vision"])
def test_pages_hold_each_file_once(ledger, many, newest_first, limit, purpose):
    seen = ids_of(ledger, newest_first=newest_first, limit=limit, purpose=purpose)
    there = [file.id for file in many if purpose in (None, file.purpose)]
    assert seen == sorted(there, reverse=newest_first)


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("count", [0, 1, 299, 300, 301])
def test_pages_are_complete_around_the_single_listing_limit(
    ledger, count, newest_first
):
    ids = [put_file(ledger, count - number, number).id for number in range(count)]
    seen = ids_of(ledger, newest_first=newest_first, limit=50)
    assert seen == sorted(ids, reverse=newest_first)


def test_files_created_at_the_same_time_are_all_listed(ledger):
    ids = [put_file(ledger, 0, number).id for number in range(400)]
    assert ids_of(ledger, newest_first=True, limit=150) == ids[::-1]
    assert ids_of(ledger, newest_first=False, limit=150) == ids


def test_a_fast_clock_hides_no_file(ledger):
    ids = [put_file(ledger, -number * DAY, number).id for number in range(400)]
    assert ids_of(ledger, newest_first=True, limit=1_000) == ids[::-1]


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_page_reads_only_a_small_part_of_a_long_listing(ledger, newest_first):
    files = [put_file(ledger, 600 * number, number) for number in range(6_000)]
    middle = files[3_000].id
    for after in (None, middle):
        ledger.storage.listed = ledger.storage.got = 0
        page = Files(ledger).page(
            after=after, limit=20, newest_first=newest_first, purpose=None
        )
        assert len(page.files) == 20
        assert page.has_more
        assert ledger.storage.listed < 1_000
        assert ledger.storage.got <= 32
