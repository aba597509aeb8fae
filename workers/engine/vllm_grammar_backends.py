"""Compiles the grammar of each request with the compiler that enforces it.

vLLM uses one compiler for all requests of an engine: the configured one or, with
`auto`, the one that its first constrained request happens to need. Here, the engine's
xgrammar backend passes on to guidance the grammars that `uses_guidance` gives it.
"""

import re
from threading import Lock
from typing import Any

import msgspec
from typing_extensions import override

from batchchat.jobs.requests.json_schemas import find_backend

_UNICODE_CLASS = re.compile(r"\\[pP]")
"""A class such as `\\p{L}`, which only guidance implements."""


def uses_guidance(kind: str, text: str) -> bool:
    """Return whether guidance must compile `text`, a grammar of that `kind`."""
    if kind == "json":
        return find_backend(msgspec.json.decode(text)) == "guidance"
    if kind == "grammar":
        from vllm.v1.structured_output.utils import grammar_is_likely_lark

        return bool(grammar_is_likely_lark(text))
    return kind == "regex" and _UNICODE_CLASS.search(text) is not None


def select_backend_per_request() -> None:
    """Make engines in this process, or their part in it, use both compilers."""
    from vllm.v1 import structured_output
    from vllm.v1.structured_output import backend_xgrammar

    if not hasattr(structured_output.XgrammarBackend, "guidance"):
        structured_output.XgrammarBackend = _combined(
            structured_output.XgrammarBackend, structured_output.GuidanceBackend
        )
        backend_xgrammar.validate_xgrammar_grammar = _accept_checked


def _accept_checked(params: Any) -> None:
    """Replace vLLM's validation, which refuses what guidance will enforce.

    All grammars were compiled before. Like vLLM's, this turns choices into a grammar.
    """
    from vllm.v1.structured_output.utils import choice_as_grammar

    constraint = params.structured_outputs
    if constraint is not None and constraint.choice:
        constraint.grammar = choice_as_grammar(constraint.choice)
        constraint.choice = None


def _combined(xgrammar: type[Any], guidance: type[Any]) -> type[Any]:
    class CombinedBackend(xgrammar):  # type: ignore[misc]
        guidance: Any = None

        @override
        def __post_init__(self) -> None:
            super().__post_init__()
            self._starting_guidance = Lock()

        @override
        def compile_grammar(
            self, request_type: Any, grammar_spec: str, stop_token_ids: Any = None
        ) -> Any:
            compile_grammar = super().compile_grammar
            if uses_guidance(request_type.name.lower(), grammar_spec):
                compile_grammar = self._guidance().compile_grammar
            return compile_grammar(request_type, grammar_spec, stop_token_ids)

        def _guidance(self) -> Any:
            with self._starting_guidance:
                if self.guidance is None:
                    self.guidance = guidance(
                        self.vllm_config,
                        tokenizer=self.tokenizer,
                        vocab_size=self.vocab_size,
                    )
                return self.guidance

    return CombinedBackend
