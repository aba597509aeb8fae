"""The two grammar compilers, as the compiler process uses them."""

from collections.abc import Callable
from copy import copy
from typing import Any

_MASK_BITS = 32

Check = Callable[[str], None]
"""Compiles a text. Raises any error, if it is not a grammar that text can match."""


def xgrammar_checks(tokenizer_info: str) -> dict[str, Check]:
    """Return xgrammar's checks by kind of grammar.

    `tokenizer_info` is a serialized `xgrammar.TokenizerInfo`.
    """
    import xgrammar

    info = xgrammar.TokenizerInfo.deserialize_json(tokenizer_info)
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    compile_by_kind: dict[str, Callable[[str], Any]] = {
        "json": compiler.compile_json_schema,
        "regex": compiler.compile_regex,
        "grammar": compiler.compile_grammar,
        "structural_tag": compiler.compile_structural_tag,
    }

    def make_check(compile_text: Callable[[str], Any]) -> Check:
        def check(text: str) -> None:
            matcher = xgrammar.GrammarMatcher(compile_text(text))
            mask = xgrammar.allocate_token_bitmask(1, info.vocab_size)
            matcher.fill_next_token_bitmask(mask)
            _require_first_token(bool(mask.any()))

        return check

    return {kind: make_check(it) for kind, it in compile_by_kind.items()}


class GuidanceCompiler:
    """Checks grammars with guidance, whose tokenizer it loads when it is needed."""

    def __init__(self, arguments: dict[str, Any] | None) -> None:
        """`arguments` are those of guidance's tokenizer, None if there is none."""
        self._arguments = arguments
        self._tokenizer: Any = None

    def load(self) -> None:
        """Load the tokenizer, which takes a second. Raises `ValueError`."""
        if self._arguments is None:
            raise ValueError("guidance does not support the tokenizer of the model")
        if self._tokenizer is None:
            from llguidance import LLTokenizer

            self._tokenizer = LLTokenizer(**self._arguments)

    def check(self, text: str) -> None:
        """Compile a grammar as guidance serializes it. Raises any error."""
        from llguidance import LLMatcher

        self.load()
        matcher = LLMatcher(self._tokenizer, text)
        mask = matcher.compute_bitmask()
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        _require_first_token(any(mask))


def guidance_arguments(tokenizer: Any, vocabulary_size: int) -> dict[str, Any] | None:
    """Return the arguments of guidance's tokenizer for a transformers tokenizer.

    None if guidance does not support it: it must be a fast one, and its tokens must fit
    into the mask that both compilers share.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or _words(len(tokenizer)) > _words(vocabulary_size):
        return None
    backend = copy(backend)
    backend.no_padding()
    backend.no_truncation()
    return {
        "tokenizer": backend.to_str(),
        "n_vocab": max(vocabulary_size, len(tokenizer)),
        "eos_token": tokenizer.eos_token_id,
    }


def _words(bits: int) -> int:
    return -(-bits // _MASK_BITS)


def _require_first_token(is_possible: bool) -> None:  # noqa: FBT001
    """Raise if no token can begin an answer; a circular schema allows none."""
    if not is_possible:
        raise ValueError("no text matches it")
