"""Ends a request whose grammar takes the engine's time, and no other.

A grammar that is compiled in a moment may need seconds for each token of an answer
(`((a{1,999}){1,999}){1,999}`: a minute for a hundred). The engine's step waits for
it, and all its other requests with it. So what each grammar takes is added up where
it is taken, in the process of vLLM's core; past its bound vLLM is told that the token
does not fit, which ends that request alone.
"""

import time
from typing import Any

_SECONDS = 0.5
"""Of a processor that a grammar may take, whatever the length of the answer."""

_TOKEN_SECONDS = 0.005
"""What it may take more for each token; those of real schemas take a tenth of it."""


def limit_grammar_time() -> None:
    """Have vLLM bound its grammars in this process."""
    from vllm.v1.structured_output import backend_xgrammar

    if not hasattr(backend_xgrammar.XgrammarGrammar, "seconds"):
        backend_xgrammar.XgrammarGrammar = _bounded(backend_xgrammar.XgrammarGrammar)


def _bounded(grammar: type[Any]) -> type[Any]:
    class Bounded(grammar):  # type: ignore[misc]
        seconds = 0.0

        def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
            before = time.thread_time()
            accepted: bool = super().accept_tokens(request_id, tokens)
            self.seconds += time.thread_time() - before
            bound = _SECONDS + _TOKEN_SECONDS * self.num_processed_tokens
            return accepted and self.seconds <= bound

        def fill_bitmask(self, bitmask: Any, idx: int) -> None:
            before = time.thread_time()
            super().fill_bitmask(bitmask, idx)
            self.seconds += time.thread_time() - before

    return Bounded
