"""Stored objects read and written as files."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.errors import ObjectMissingError
from batchchat.jobs.storage import MemoryStorage
from batchchat.jobs.storage import file_adapter as module
from batchchat.jobs.storage.file_adapter import stored_file

DATA = bytes(range(256)) * 8


@given(
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)), max_size=10),
    st.integers(1, 5_000),
)
def test_any_range_reads_what_a_file_in_memory_reads(ranges, buffer):
    storage = MemoryStorage()
    storage.put("a", DATA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ_BYTES", buffer)
        file = stored_file(storage, "a")
    expected = io.BytesIO(DATA)
    for offset, size in ranges:
        assert file.seek(offset) == expected.seek(offset)
        assert file.read(size) == expected.read(size)
        assert file.tell() == expected.tell()
    assert file.seek(-3, io.SEEK_END) == len(DATA) - 3
    assert file.read() == DATA[-3:]


def test_a_missing_object_is_an_error():
    with pytest.raises(ObjectMissingError):
        stored_file(MemoryStorage(), "a")
