"""Chat features with vLLM's server semantics: constraints, tool calls, reasoning.

This module uses the request and parser classes of vLLM's server, so that a request
means the same here as there. The server itself is not started.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.requests.output_constraints import OutputConstraints
from batchchat.workers.engine.grammar_process import Grammar
from batchchat.workers.engine.vllm_grammars import GrammarBuilder

_MAX_REASON_CHARACTERS = 200


class ChatParserFactory:
    """Creates the parsers of single requests; one instance serves an engine."""

    def __init__(
        self, model: Model, config: Any, tokenizer: Any, grammars: GrammarBuilder
    ) -> None:
        """`config` and `tokenizer` are vLLM's `ModelConfig` and tokenizer.

        Raises `ConfigError` if the catalog names a parser that cannot be used.
        """
        from vllm.parser import ParserManager

        try:
            self._parser_class = ParserManager.get_parser(
                tool_parser_name=model.tool_parser,
                reasoning_parser_name=model.reasoning_parser,
                enable_auto_tools=model.tool_parser is not None,
                model_name=config.model,
                is_harmony=config.hf_config.model_type == "gpt_oss",
                tokenizer=tokenizer,
            )
        except TypeError as error:
            raise ConfigError(
                f"model `{model.name}`: {error}",
                hint="correct `tool_parser` or `reasoning_parser` in the catalog",
            ) from error
        # A tool call that is cut off by the token limit is normal, yet vLLM logs it
        # with a traceback.
        logging.getLogger("vllm.tool_parsers").setLevel(logging.CRITICAL)
        self._has_reasoning = bool(model.reasoning_parser)
        self._config = config
        self._tokenizer = tokenizer
        self._grammars = grammars

    def create(self, constraints: OutputConstraints | None) -> "ChatParser | None":
        """Return the parser of a request's answers, None if they are plain text.

        Raises `RequestRefusedError`.
        """
        if constraints is None and not self._has_reasoning:
            return None
        with refuse_on_error():
            from vllm.entrypoints.openai.chat_completion.protocol import (
                ChatCompletionRequest,
            )

            request = ChatCompletionRequest(messages=[], **constraints or {})
            parser = self._vllm_parser(request)
            structured_outputs = request.extract_structured_outputs()
        grammar = None
        if structured_outputs is not None and not structured_outputs.json_object:
            with refuse_on_error(param := _constraining_param(constraints or {})):
                grammar = self._grammars.build(structured_outputs), param
        return ChatParser(
            request,
            parser,
            structured_outputs,
            grammar,
            has_reasoning=self._has_reasoning,
        )

    def _vllm_parser(self, request: Any) -> Any:
        """Return vLLM's parser for the request, which it may adjust."""
        if self._parser_class is None:
            return None
        arguments = request.build_chat_params(None, "auto").chat_template_kwargs
        parser = self._parser_class(
            self._tokenizer,
            request.tools,
            chat_template_kwargs=arguments,
            model_config=self._config,
        )
        if self._has_reasoning or request.tool_choice != "none":
            parser.adjust_request(request)
        return parser


class ChatParser:
    """Parses the answers to one request as vLLM's server does."""

    def __init__(
        self,
        request: Any,
        parser: Any,
        structured_outputs: Any,
        grammar: tuple[Grammar, str] | None,
        *,
        has_reasoning: bool,
    ) -> None:
        """`request` is vLLM's `ChatCompletionRequest`, adjusted by vLLM's `parser`.

        `structured_outputs` is vLLM's `StructuredOutputsParams`, None if the answer
        is unconstrained; `grammar` is the one to compile, with the name of the
        field that it comes from; `has_reasoning` states whether the model reasons.
        """
        self._request = request
        self._parser = parser
        self.grammar = grammar
        self.structured_outputs = structured_outputs
        self.has_reasoning = has_reasoning

    @property
    def skips_special_tokens(self) -> bool:
        """Whether the parser works on text without special tokens."""
        return bool(self._request.skip_special_tokens)

    @property
    def hides_logprobs(self) -> bool:
        """Whether log probabilities would reveal reasoning that must be hidden."""
        return self._parser is not None and not self._request.include_reasoning

    def parse(self, output: Any) -> dict[str, Any]:
        """Return the fields of a `Choice` that the output's text contains.

        Follows `chat_completion_full_generator` of vLLM's server.
        """
        request = self._request
        if self._parser is None:
            return {"text": output.text}
        reasoning, content, calls = self._parser.parse(
            output.text,
            request,
            enable_auto_tools=self._parser.tool_parser is not None,
            model_output_token_ids=output.token_ids,
        )
        fields: dict[str, Any] = {"text": content}
        if request.include_reasoning:
            fields["reasoning"] = reasoning
        if request.tools and request.tool_choice != "none":
            fields |= self._tool_call_fields(calls or [], output.finish_reason)
            if request.tool_choice != "auto":
                fields["text"] = content or ""
        return fields

    def reasoning_tokens(self, token_ids: list[int]) -> int:
        """Return how many of the tokens are reasoning."""
        return self._parser.count_reasoning_tokens(token_ids) if self._parser else 0

    def _tool_call_fields(self, calls: list[Any], finish_reason: str) -> dict[str, Any]:
        """Return the tool calls in OpenAI's format and the resulting finish reason."""
        request = self._request
        if request.parallel_tool_calls is False:
            calls = calls[:1]
        chose_tool = request.tool_choice == "auto" and calls
        if chose_tool or (
            request.tool_choice == "required" and finish_reason == "stop"
        ):
            finish_reason = "tool_calls"
        return {
            "tool_calls": [_tool_call(call) for call in calls],
            "finish_reason": finish_reason,
        }


def _constraining_param(constraints: OutputConstraints) -> str:
    """Return the name of the field that determines the answer's grammar."""
    for name in ("structured_outputs", "response_format"):
        if name in constraints and constraints.get("tool_choice", "auto") in (
            "none",
            "auto",
        ):
            return name
    return "tools"


@contextmanager
def refuse_on_error(param: str | None = None) -> Iterator[None]:
    """Convert any error of vLLM's request handling into `RequestRefusedError`."""
    try:
        yield
    except RequestRefusedError as error:
        error.param = error.param or param
        raise
    except Exception as error:
        message = str(error)
        if isinstance(error, ValidationError):
            message = error.errors()[0]["msg"]
        first_line = message.strip().partition("\n")[0][:_MAX_REASON_CHARACTERS]
        reason = first_line or type(error).__name__
        raise RequestRefusedError(reason, code="invalid_value", param=param) from error


def _tool_call(call: Any) -> dict[str, Any]:
    from vllm.renderers.chat_utils import make_tool_call_id

    return {
        "id": call.id or make_tool_call_id(),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
