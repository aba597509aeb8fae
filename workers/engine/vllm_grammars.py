"""Derives the grammar of an answer from the output constraints of its request."""

import json
from collections.abc import Iterator
from typing import Any

from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.requests.json_schemas import (
    Backend,
    SchemaProblem,
    enforceable,
    find_backend,
)
from batchchat.workers.engine.grammar_process import Grammar
from batchchat.workers.engine.tool_call_grammar import tool_call_grammar
from batchchat.workers.engine.vllm_grammar_backends import uses_guidance

BACKENDS = ("auto", "xgrammar", "guidance")


class GrammarBuilder:
    """Builds the grammars of one engine's requests."""

    def __init__(self, config: dict[str, Any]) -> None:
        """`config` is vLLM's `structured_outputs_config`.

        Its backend is `auto` for the compiler that each request needs, or the name of
        one compiler for all. Raises `ConfigError` for other backends.
        """
        backend = config.get("backend", "auto")
        if backend not in BACKENDS:
            raise ConfigError(
                f"`engine.structured_outputs_config.backend` must be one of"
                f" {', '.join(BACKENDS)}, got {backend!r}",
                hint="correct it in the catalog",
            )
        self._only: Backend | None = None if backend == "auto" else backend
        self._config = config

    def build(self, constraint: Any) -> Grammar:
        """Return the grammar of a `StructuredOutputsParams`.

        Replaces its schema by an equal one that the compiler accepts.
        Raises `RequestRefusedError` if no compiler enforces the schema.
        """
        from vllm.v1.structured_output.request import get_structured_output_key
        from vllm.v1.structured_output.utils import choice_as_grammar

        if constraint.json is not None:
            constraint.json = self._enforceable(constraint.json)
        elif constraint.structural_tag is not None:
            self._convert_tag(constraint)
        elif constraint.choice is not None and self._only != "guidance":
            return "grammar", choice_as_grammar(constraint.choice)
        request_type, text = get_structured_output_key(constraint)
        kind = request_type.name.lower()
        if self._is_for_guidance(kind, text):
            return "guidance", self._serialize(request_type, text)
        return kind, text

    def _is_for_guidance(self, kind: str, text: str) -> bool:
        if self._only is not None:
            return self._only == "guidance"
        return uses_guidance(kind, text)

    def _enforceable(self, schema: Any) -> Any:
        if isinstance(schema, str):
            schema = json.loads(schema)
        _require_backend(schema, self._only)
        return enforceable(schema)

    def _convert_tag(self, constraint: Any) -> None:
        """Turn calls of tools into a Lark grammar if guidance must enforce a schema."""
        tag = json.loads(constraint.structural_tag)
        found = [_require_backend(schema, self._only) for schema in _schemas_in(tag)]
        if "guidance" in found:
            has_whitespace = not self._config.get("disable_any_whitespace", False)
            constraint.grammar = tool_call_grammar(tag, has_whitespace=has_whitespace)
            constraint.structural_tag = None

    def _serialize(self, request_type: Any, text: str) -> str:
        from vllm.v1.structured_output.backend_guidance import (
            serialize_guidance_grammar,
        )

        grammar: str = serialize_guidance_grammar(
            request_type,
            text,
            self._config.get("disable_any_whitespace", False),
            self._config.get("disable_additional_properties", False),
        )
        return grammar


def _require_backend(schema: Any, only: Backend | None) -> Backend:
    found = find_backend(schema, only)
    if isinstance(found, SchemaProblem):
        at = f" (at `{found.path.removeprefix('.')}`)" if found.path else ""
        raise RequestRefusedError(f"{found.message}{at}", code="invalid_value")
    return found


def _schemas_in(tag: Any) -> Iterator[Any]:
    """Yield the JSON schemas of a structural tag."""
    if isinstance(tag, list):
        for part in tag:
            yield from _schemas_in(part)
    elif isinstance(tag, dict):
        if tag.get("type") == "json_schema":
            yield tag.get("json_schema", {})
            return
        yield from _schemas_in(list(tag.values()))
