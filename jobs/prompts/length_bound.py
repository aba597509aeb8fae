"""Finds prompts that are far too long without tokenizing all of them.

Tokenizing a megabyte takes seconds and hundreds of megabytes of memory, only to count
tokens that the model cannot read. So the number of tokens is first bounded from below:
by the longest token of the vocabulary, then by the tokens of the text's beginning.
"""

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

_PIECE_CHARS = 32_768
"""Characters that are tokenized at once; shorter prompts are tokenized as a whole."""

_USUAL_CHARS_PER_TOKEN = 4
"""Prompts with fewer characters per token of the context are tokenized as a whole."""

_MAX_TOKENS_OF_A_CUT = 64
"""How many more tokens two pieces are assumed to have than the text they are cut from;
a cut adds few, because merges are local."""

_KEEPS_LENGTH = {"Lowercase", "NFD", "NFKD", "Prepend", "ByteLevel"}
"""Normalizers after which a text has no fewer characters."""

_KEEPS_TEXT = {"ByteLevel", "Metaspace", "Digits"}
"""Pre-tokenizers that drop no characters."""


class LengthBound:
    """A lower bound for the number of tokens of long prompts."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        """Use the vocabulary of `tokenizer`, if it is known."""
        self._tokenizer = tokenizer

    def find_excess(
        self, text: str, encode: Callable[[str], list[int]], context_length: int
    ) -> int | None:
        """Return a number of tokens that the prompt certainly has, if too large.

        Return None if the prompt must be tokenized to find out. Then it has at most
        a quarter more tokens than the context, and some for each piece.
        """
        usual = max(_PIECE_CHARS, _USUAL_CHARS_PER_TOKEN * context_length)
        if len(text) <= usual:
            return None
        if self._longest_token and len(text) > self._longest_token * context_length:
            return len(text) // self._longest_token
        return _count_beginning(text, encode, context_length)

    @cached_property
    def _longest_token(self) -> int | None:
        """The most characters of a text that one token can stand for; None if unknown.

        It is unknown if the tokenizer can drop characters.
        """
        if self._tokenizer is None:
            return None
        if not _keeps_characters(json.loads(self._tokenizer.to_str())):
            return None
        return max(map(len, self._tokenizer.get_vocab()), default=None)


def _count_beginning(
    text: str, encode: Callable[[str], list[int]], context_length: int
) -> int | None:
    """Tokenize pieces of a text until they have clearly more tokens than the context.

    Return None if they never do.
    """
    tokens, most = 0, context_length + context_length // 4
    for begin in range(0, len(text), _PIECE_CHARS):
        tokens += len(encode(text[begin : begin + _PIECE_CHARS]))
        most += _MAX_TOKENS_OF_A_CUT
        if tokens > most:
            return context_length
    return None


def _keeps_characters(spec: dict[str, Any]) -> bool:
    """Return whether a tokenizer drops no characters and merges no unknown ones."""
    splitters = _parts(spec.get("pre_tokenizer"), "pretokenizers")
    reads_bytes = any(part["type"] == "ByteLevel" for part in splitters)
    return (
        (reads_bytes or bool(spec["model"].get("byte_fallback")))
        and all(map(_keeps_text, splitters))
        and all(map(_keeps_length, _parts(spec.get("normalizer"), "normalizers")))
        and not any(one["lstrip"] or one["rstrip"] for one in spec["added_tokens"])
    )


def _parts(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """Return the parts of a sequence, or the part itself."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [inner for one in part[name] for inner in _parts(one, name)]


def _keeps_length(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] == "Replace":
        replaced = normalizer["pattern"].get("String")
        return replaced is not None and len(normalizer["content"]) >= len(replaced)
    return normalizer["type"] in _KEEPS_LENGTH


def _keeps_text(splitter: dict[str, Any]) -> bool:
    if splitter["type"] == "Split":
        return bool(splitter["behavior"] != "Removed")
    return splitter["type"] in _KEEPS_TEXT
