"""The lines of a stream do not depend on how it is divided into chunks."""

from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.requests.line_reader import BOM, iter_lines

PLENTY = 1 << 20

texts = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", BOM, b"\x00"]))
files = st.binary(max_size=60) | texts.map(b"".join)
cuts = st.lists(st.integers(1, 9), max_size=60)


def chunks(data, sizes):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


def raws(data, most=PLENTY, **start):
    return [line.raw for line in iter_lines([data], most, **start)]


def places(lines):
    return [(line.number, line.offset, line.length) for line in lines]


def split(data):
    """Return the pieces between line feeds; none after the last one."""
    return data.split(b"\n")[:-1] + [rest for rest in data.split(b"\n")[-1:] if rest]


@given(files, cuts)
def test_lines_do_not_depend_on_the_chunks(data, sizes):
    lines = list(iter_lines(chunks(data, sizes), PLENTY))
    expected = split(data)
    if expected:
        expected[0] = expected[0].removeprefix(BOM)
    assert [line.raw for line in lines] == expected
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))


@given(files, cuts)
def test_line_extents_are_contiguous_and_contain_their_lines(data, sizes):
    end = 0
    for line, expected in zip(
        iter_lines(chunks(data, sizes), PLENTY), split(data), strict=True
    ):
        assert line.offset == end
        end += line.length
        assert data[line.offset : end].removesuffix(b"\n") == expected
    assert end == len(data)


@given(files, cuts, st.integers(0, 5))
def test_a_line_beyond_the_limit_has_an_extent_but_no_bytes(data, sizes, most):
    whole = list(iter_lines([data], PLENTY, offset=9))
    limited = list(iter_lines(chunks(data, sizes), most, offset=9))
    assert places(limited) == places(whole)
    for line, full in zip(limited, whole, strict=True):
        assert line.raw == (full.raw if len(full.raw or b"") <= most else None)


def test_a_line_may_be_as_long_as_the_limit():
    assert raws(b"12345\n123456\n12345", 5) == [b"12345", None, b"12345"]


def test_a_long_last_line_without_a_line_feed_is_reported():
    assert raws(b"1\n123456", 5) == [b"1", None]


def test_a_byte_order_mark_does_not_belong_to_the_first_line():
    assert raws(BOM + b"a\n" + BOM + b"b") == [b"a", BOM + b"b"]
    assert [line.length for line in iter_lines([BOM, b"a\n"], PLENTY)] == [5]


def test_a_byte_order_mark_within_a_file_is_kept():
    assert raws(BOM + b"a", offset=5) == [BOM + b"a"]


def test_a_carriage_return_is_kept():
    assert raws(b"a\r\n\r\nb\r\n") == [b"a\r", b"\r", b"b\r"]


def test_numbers_and_offsets_start_where_the_range_starts():
    lines = iter_lines([b"x\n"], PLENTY, offset=100, first_line=42)
    assert places(lines) == [(42, 100, 2)]


def test_an_empty_file_has_no_lines():
    assert raws(b"") == list(iter_lines([], PLENTY)) == []
