"""What every storage promises."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.storage.protocol import CHUNK_BYTES, stream_range

NO_KEYS = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", ".a"]
NO_KEYS += ["a/.b", "-a", "a b", "a\n", "a\0", "a\\b", "a:b", "ä", "~"]

READS = {
    "get": lambda storage, key: storage.get(key),
    "read": lambda storage, key: storage.read(key, 0, 1),
    "stream": lambda storage, key: list(storage.stream(key)),
    "size": lambda storage, key: storage.size(key),
}
WRITES = {
    "create": lambda storage, key: storage.create(key, b""),
    "put": lambda storage, key: storage.put(key, b""),
    "writer": lambda storage, key: storage.writer(key).__enter__(),
    "delete": lambda storage, key: storage.delete(key),
}


def write_half(storage, key, error):
    with storage.writer(key) as file:
        file.write(b"half")
        raise error


def test_create_writes_once_and_says_who_did(storage):
    assert [storage.create("a/b", text) for text in (b"1", b"2")] == [True, False]
    assert storage.get("a/b") == b"1"


def test_create_leaves_what_was_put(storage):
    storage.put("a", b"put")
    assert not storage.create("a", b"created")
    assert storage.get("a") == b"put"


def test_one_of_many_racing_creates_wins_and_its_bytes_stay(storage, winners):
    barrier = Barrier(8)

    def race(number):
        barrier.wait()
        return storage.create("folder/key", b"%d" % number)

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(race, range(8)))
    assert won.count(True) in winners
    assert won[int(storage.get("folder/key"))]


def test_put_replaces(storage):
    storage.put("a", b"longer than")
    storage.put("a", b"this")
    assert storage.get("a") == b"this"


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5])
def test_bytes_come_back_as_they_went(storage, data):
    storage.put("a", data)
    assert (storage.get("a"), storage.size("a")) == (data, len(data))
    assert b"".join(storage.stream("a")) == data


def test_a_writer_s_object_appears_when_the_block_ends(storage):
    with storage.writer("a/b") as file:
        file.write(b"one, ")
        assert list(storage.list("")) == []
        file.write(b"two")
    assert storage.get("a/b") == b"one, two"


def test_a_writer_replaces_only_when_the_block_ends(storage):
    storage.put("a", b"old")
    with storage.writer("a") as file:
        file.write(b"new")
        assert storage.get("a") == b"old"
    assert storage.get("a") == b"new"


@pytest.mark.parametrize("kind", [OSError, KeyError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_nothing_and_its_error_unchanged(storage, kind):
    mine = kind("mine")
    with pytest.raises(kind) as raised:
        write_half(storage, "a/b", mine)
    assert raised.value is mine
    assert list(storage.list("")) == []


def test_a_block_that_raises_leaves_the_older_object(storage):
    storage.put("a", b"old")
    with pytest.raises(KeyError):
        write_half(storage, "a", KeyError())
    assert storage.get("a") == b"old"


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        *[(0, 4, b"0123"), (3, 2, b"34"), (9, 1, b"9"), (0, 10, b"0123456789")],
        *[(8, 9, b"89"), (10, 5, b""), (99, 1, b""), (4, 0, b"")],
    ],
)
def test_a_range_is_cut_at_the_object_s_end(storage, offset, length, expected):
    storage.put("a", b"0123456789")
    assert storage.read("a", offset, length) == expected


def test_a_large_object_is_streamed_in_bounded_pieces(storage):
    data = b"0123456789abcdef" * (CHUNK_BYTES // 16) + b"end"
    storage.put("a", data)
    assert [len(piece) for piece in storage.stream("a")] == [CHUNK_BYTES, 3]
    assert (
        b"".join(stream_range(storage, "a", 5, CHUNK_BYTES + 9))
        == data[5:][: CHUNK_BYTES + 9]
    )


@pytest.mark.parametrize("read", READS)
def test_reading_what_is_not_there_is_no_matter_of_patience(storage, read):
    storage.put("a/b", b"beside")
    with pytest.raises(ObjectMissingError) as raised:
        READS[read](storage, "a/c")
    assert not raised.value.retryable


def test_delete_removes_and_may_be_repeated(storage):
    storage.put("a/b", b"x")
    for _ in range(2):
        storage.delete("a/b")
    with pytest.raises(ObjectMissingError):
        storage.get("a/b")
    assert storage.create("a/b", b"again")


@pytest.mark.parametrize("call", READS | WRITES)
def test_what_is_no_key_is_refused(storage, call):
    for key in NO_KEYS:
        with pytest.raises(ValueError, match="not a storage key"):
            (READS | WRITES)[call](storage, key)
