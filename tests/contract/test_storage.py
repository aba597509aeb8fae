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
    "delete_all": lambda storage, key: storage.delete_all([key]),
}


def write_half(storage, key, error):
    with storage.writer(key) as file:
        file.write(b"half")
        raise error


def test_create_succeeds_once(storage):
    assert [storage.create("a/b", text) for text in (b"1", b"2")] == [True, False]
    assert storage.get("a/b") == b"1"


def test_create_does_not_replace_an_object(storage):
    storage.put("a", b"put")
    assert not storage.create("a", b"created")
    assert storage.get("a") == b"put"


def test_of_concurrent_creates_one_wins_and_its_bytes_stay(storage, winners):
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
def test_any_bytes_are_read_back(storage, data):
    storage.put("a", data)
    assert (storage.get("a"), storage.size("a")) == (data, len(data))
    assert b"".join(storage.stream("a")) == data


def test_a_written_object_appears_when_the_block_ends(storage):
    with storage.writer("a/b") as file:
        file.write(b"one, ")
        assert list(storage.list("")) == []
        file.write(b"two")
    assert storage.get("a/b") == b"one, two"


def test_a_written_object_replaces_another_when_the_block_ends(storage):
    storage.put("a", b"old")
    with storage.writer("a") as file:
        file.write(b"new")
        assert storage.get("a") == b"old"
    assert storage.get("a") == b"new"


@pytest.mark.parametrize("kind", [OSError, KeyError, KeyboardInterrupt])
def test_a_block_that_raises_writes_nothing(storage, kind):
    mine = kind("mine")
    with pytest.raises(kind) as raised:
        write_half(storage, "a/b", mine)
    assert raised.value is mine
    assert list(storage.list("")) == []


def test_a_block_that_raises_keeps_the_older_object(storage):
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
def test_a_range_is_cut_at_the_end_of_the_object(storage, offset, length, expected):
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
def test_a_missing_object_is_an_error_that_is_not_retryable(storage, read):
    storage.put("a/b", b"beside")
    with pytest.raises(ObjectMissingError) as raised:
        READS[read](storage, "a/c")
    assert not raised.value.retryable


def test_delete_can_be_repeated(storage):
    storage.put("a/b", b"x")
    for _ in range(2):
        storage.delete("a/b")
    with pytest.raises(ObjectMissingError):
        storage.get("a/b")
    assert storage.create("a/b", b"again")


def test_many_objects_are_deleted_at_once(storage):
    keys = [f"a/{number // 100}/{number:04d}" for number in range(303)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: storage.put(key, b"x"), keys))
    for key in ("a/kept", "b"):
        storage.put(key, b"kept")
    storage.delete_all([*keys, "a/missing", "missing/b"])
    assert [entry.key for entry in storage.list("")] == ["a/kept", "b"]
    assert list(storage.folders("a")) == ["kept"]
    storage.delete_all([])
    storage.put(keys[0], b"again")
    assert storage.get(keys[0]) == b"again"


@pytest.mark.parametrize("call", READS | WRITES)
def test_an_invalid_key_is_an_error(storage, call):
    for key in NO_KEYS:
        with pytest.raises(ValueError, match="not a storage key"):
            (READS | WRITES)[call](storage, key)
