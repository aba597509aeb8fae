"""Turns the tokens of a finished answer into its text, all at once.

vLLM does it token by token as they are drawn, which streaming needs and a batch
does not. The text is the same: it goes on behind the prompt, and bytes at its end
that are no whole character are left out.
"""

from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

_TAIL = 16
"""Tokens of the prompt to read on from: a first blank depends on what is before it."""

_LOOK_BACK = 4
"""Tokens at the end that may be pieces of a character that never came whole."""

_NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """Reads answers; for tokenizers of Hugging Face's library."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """`tokenizer` is the model's."""
        self._tokenizer = tokenizer

    @classmethod
    def for_tokenizer(cls, tokenizer: Any) -> "Detokenizer | None":
        """Return one for vLLM's `tokenizer`, None where it is of another kind."""
        inner = getattr(tokenizer, "_tokenizer", None)
        return cls(inner) if isinstance(inner, Tokenizer) else None

    def decode(
        self, prompt: list[int], answer: list[int], *, hides_special: bool
    ) -> str:
        """Return what `answer` says behind `prompt`."""
        decode = self._tokenizer.decode
        before = prompt[-_TAIL:]
        start = decode(before, hides_special)
        for end in range(len(answer), max(0, len(answer) - _LOOK_BACK), -1):
            whole = decode(before + answer[:end], hides_special)
            if not whole.startswith(start):
                break
            if not whole.endswith(_NO_CHARACTER):
                return whole[len(start) :]
        return self._one_by_one(before, answer, hides_special=hides_special)

    def _one_by_one(
        self, before: list[int], answer: list[int], *, hides_special: bool
    ) -> str:
        """Return the text as vLLM does, of tokens that make no proper text."""
        stream = DecodeStream(before, hides_special)
        text = ""
        for token in answer:
            try:
                text += stream.step(self._tokenizer, token) or ""
            except Exception:  # noqa: BLE001 - a bare one is raised; vLLM begins anew
                stream = DecodeStream([], hides_special)
                text += stream.step(self._tokenizer, token) or ""
        return text
