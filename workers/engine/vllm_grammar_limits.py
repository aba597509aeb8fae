"""Ends a single request whose grammar consumes too much of the engine's time.

A grammar that compiles instantly may need seconds for each token of an answer:
`((a{1,999}){1,999}){1,999}` takes a minute for a hundred tokens. The engine's step
waits for it, and so do all other requests. The time of each grammar is therefore
measured in the process of vLLM's core. Past its limit the grammar rejects the next
token, which makes vLLM end that request and no other.
"""

import time
from typing import Any

from typing_extensions import override

_BASE_SECONDS = 0.5
"""CPU time that a grammar may use regardless of the answer's length."""

_SECONDS_PER_TOKEN = 0.005
"""Additional CPU time for each token; common schemas use a tenth of it."""


def limit_grammar_time() -> None:
    """Make vLLM limit the CPU time of its grammars in this process."""
    from vllm.v1.structured_output import backend_guidance, backend_xgrammar

    if not hasattr(backend_xgrammar.XgrammarGrammar, "seconds"):
        backend_xgrammar.XgrammarGrammar = _limited(backend_xgrammar.XgrammarGrammar)
        backend_guidance.GuidanceGrammar = _limited(backend_guidance.GuidanceGrammar)


def _limited(grammar: type[Any]) -> type[Any]:
    class TimeLimitedGrammar(grammar):  # type: ignore[misc]
        seconds = 0.0
        accepted_tokens = 0

        @override
        def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
            began = time.thread_time()
            accepted: bool = super().accept_tokens(request_id, tokens)
            self.seconds += time.thread_time() - began
            self.accepted_tokens += len(tokens)
            limit = _BASE_SECONDS + _SECONDS_PER_TOKEN * self.accepted_tokens
            return accepted and self.seconds <= limit and not _has_failed(self)

        @override
        def fill_bitmask(self, bitmask: Any, idx: int) -> None:
            began = time.thread_time()
            super().fill_bitmask(bitmask, idx)
            self.seconds += time.thread_time() - began

    return TimeLimitedGrammar


def _has_failed(grammar: Any) -> bool:
    """Return whether guidance has given up, which vLLM takes for the answer's end."""
    matcher = getattr(grammar, "ll_matcher", None)
    return matcher is not None and matcher.is_error()
