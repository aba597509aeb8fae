"""A prompt that is far too long is rejected before all of it is tokenized."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from batchchat.jobs.prompts.length_bound import LengthBound
from tests.support.tiny_tokenizers import byte_level, legacy, metaspace

KINDS = [byte_level(), legacy(), metaspace("first")]
LONG = 40_000
"""Characters of a text that is bounded before it is tokenized."""


def encoder(tokenizer):
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def byte_tokens(text):
    return list(text.encode())


def words(count):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, "a " * count


@pytest.mark.parametrize("tokenizer", KINDS, ids=["byte level", "legacy", "metaspace"])
@given(piece=st.text(min_size=1, max_size=40))
def test_the_bound_is_never_above_the_number_of_tokens(tokenizer, piece):
    text = (piece * LONG)[:LONG]
    encode = encoder(tokenizer)
    bound = LengthBound(tokenizer).find_excess(text, encode, context_length=1_000)
    tokens = len(encode(text))
    assert bound is not None if tokens > 3_000 else True
    assert (bound or 0) <= tokens


@pytest.mark.parametrize("tokenizer", KINDS, ids=["byte level", "legacy", "metaspace"])
def test_eight_million_characters_are_rejected_without_being_tokenized(tokenizer):
    def encode(_):
        raise AssertionError("tokenized")

    assert LengthBound(tokenizer).find_excess("word " * 1_660_000, encode, 2_048)


def test_without_a_vocabulary_only_the_beginning_is_tokenized():
    seen = []

    def encode(text):
        seen.append(len(text))
        return byte_tokens(text)

    assert LengthBound().find_excess("x" * 8_300_000, encode, 100_000) == 100_000
    assert sum(seen) <= 200_000
    assert max(seen) <= LONG


def test_a_text_that_may_fit_is_left_to_the_tokenizer():
    for size in (10, LONG, 200_000):
        assert LengthBound().find_excess("x" * size, byte_tokens, 200_000) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda one: setattr(one, "normalizer", normalizers.NFC()),
        lambda one: setattr(one, "normalizer", normalizers.Replace("xx", "x")),
        lambda one: setattr(one, "pre_tokenizer", pre_tokenizers.WhitespaceSplit()),
        lambda one: setattr(one, "pre_tokenizer", pre_tokenizers.Split("x", "removed")),
        lambda one: one.add_tokens([AddedToken("<strip>", rstrip=True)]),
    ],
)
def test_a_tokenizer_that_may_drop_characters_gives_no_bound(change):
    tokenizer = byte_level()
    assert LengthBound(tokenizer)._longest_token
    change(tokenizer)
    assert LengthBound(tokenizer)._longest_token is None


def test_a_text_of_which_most_is_dropped_is_not_rejected():
    tokenizer, text = words(100)
    padded = text + " " * LONG
    assert LengthBound(tokenizer).find_excess(padded, encoder(tokenizer), 1_000) is None
