"""All custom_ids on more than one line are found, and no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.requests.duplicate_ids import CustomIdHashes, find_duplicates
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.requests.parser import Parser, parse_line
from tests.support.input_lines import encoded, line

id_lists = st.lists(st.sampled_from("abcdefgh") | st.text(min_size=1, max_size=2))


def hashes_of(custom_ids):
    noted = CustomIdHashes()
    for custom_id in custom_ids:
        noted.add_all([custom_id])
    found = noted.duplicate_hashes()
    noted.close()
    return found


def found_in(raws, hashes):
    parser = Parser("demo")
    lines = iter_lines([b"\n".join(raws)], 10_000)
    custom_id = lambda line: parse_line(parser, line, 10_000).custom_id  # noqa: E731
    return list(find_duplicates(lines, hashes, custom_id))


def expected(custom_ids):
    """Return what a dictionary finds."""
    first: dict[str, int] = {}
    for number, custom_id in enumerate(custom_ids, 1):
        if first.setdefault(custom_id, number) != number:
            yield number, first[custom_id], custom_id


@pytest.fixture(params=[1, 3, 1_000_000], scope="module")
def piece(request):
    with pytest.MonkeyPatch.context() as patch:
        name = "batchchat.jobs.requests.duplicate_ids._HASHES_PER_WRITE"
        patch.setattr(name, request.param)
        yield


@pytest.mark.usefixtures("piece")
@given(custom_ids=id_lists)
def test_duplicate_hashes_are_those_of_duplicate_ids(custom_ids):
    repeated = {name for name in custom_ids if custom_ids.count(name) > 1}
    assert hashes_of(custom_ids) == {hash(name) for name in repeated}


@pytest.mark.usefixtures("piece")
@given(custom_ids=id_lists)
def test_duplicates_are_those_that_a_dictionary_finds(custom_ids):
    raws = [line(custom_id=custom_id) for custom_id in custom_ids]
    found = found_in(raws, hashes_of(custom_ids))
    assert found == list(expected(custom_ids))


def test_an_id_that_only_shares_a_hash_is_not_a_duplicate():
    raws = [line(custom_id="a"), line(custom_id="b"), line(custom_id="a")]
    assert found_in(raws, {hash("a"), hash("b")}) == [(3, 1, "a")]


def test_the_default_custom_id_can_be_a_duplicate():
    raws = [encoded({"messages": []}), b"", line(custom_id="request-1")]
    assert found_in(raws, {hash("request-1")}) == [(3, 1, "request-1")]


def test_thousands_of_hashes_are_spooled_to_disk(monkeypatch):
    monkeypatch.setattr("batchchat.jobs.requests.duplicate_ids._HASHES_PER_WRITE", 100)
    monkeypatch.setattr("batchchat.jobs.requests.duplicate_ids._SPOOL_BYTES", 1_000)
    names = [str(number) for number in range(5_000)]
    assert hashes_of([*names, "17", "4999"]) == {hash("17"), hash("4999")}
