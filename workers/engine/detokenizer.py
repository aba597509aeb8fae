"""Decodes the tokens of a finished answer into text in one call.

vLLM decodes token by token as they are generated, which streaming needs and a batch
does not. The resulting text is the same: it continues the prompt, and trailing bytes
that form no complete character are dropped.
"""

from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

_PROMPT_TAIL_TOKENS = 16
"""Prompt tokens decoded with the answer; its leading space depends on them."""

_MAX_PARTIAL_TOKENS = 4
"""Trailing tokens that may be parts of an incomplete character."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Detokenizer:
    """Decodes answers with a tokenizer of Hugging Face's tokenizers library."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """`tokenizer` is the model's."""
        self._tokenizer = tokenizer

    @classmethod
    def for_tokenizer(cls, tokenizer: Any) -> "Detokenizer | None":
        """Return a detokenizer for vLLM's `tokenizer`, None if it has another type."""
        inner = getattr(tokenizer, "_tokenizer", None)
        return cls(inner) if isinstance(inner, Tokenizer) else None

    def decode(
        self, prompt: list[int], answer: list[int], *, skip_special_tokens: bool
    ) -> str:
        """Return the text of the token ids `answer` that follow `prompt`."""
        decode = self._tokenizer.decode
        tail = prompt[-_PROMPT_TAIL_TOKENS:]
        prefix = decode(tail, skip_special_tokens)
        shortest = max(0, len(answer) - _MAX_PARTIAL_TOKENS)
        for end in range(len(answer), shortest, -1):
            text = decode(tail + answer[:end], skip_special_tokens)
            if not text.startswith(prefix):
                break
            if not text.endswith(_REPLACEMENT):
                return text[len(prefix) :]
        return self._decode_stepwise(
            tail, answer, skip_special_tokens=skip_special_tokens
        )

    def _decode_stepwise(
        self, tail: list[int], answer: list[int], *, skip_special_tokens: bool
    ) -> str:
        """Decode token by token as vLLM does, for tokens that form no valid text."""
        stream = DecodeStream(tail, skip_special_tokens)
        text = ""
        for token in answer:
            try:
                text += stream.step(self._tokenizer, token) or ""
            except Exception:  # noqa: BLE001 - the library raises a bare Exception
                # vLLM, too, starts over with an empty stream here.
                stream = DecodeStream([], skip_special_tokens)
                text += stream.step(self._tokenizer, token) or ""
        return text
