"""What vLLM's server knows about chats: forms of answers, tool calls, reasoning.

Beside `workers.vllm_engine`, and like it allowed to know vLLM: that file drives
the engine, this one uses the server's own request and parser classes, so that a
request means here what it means there. The server itself is not started.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.requests.output_constraints import Form
from batchchat.workers.engine.grammar_sandbox import Grammar


class ChatParserFactory:
    """Reads the forms that requests ask for; one for an engine."""

    def __init__(self, model: Model, config: Any, tokenizer: Any) -> None:
        """`config` and `tokenizer` are vLLM's, of the loaded model.

        Raises `ConfigError` where the catalog names a parser that can't be used.
        """
        from vllm.parser import ParserManager

        try:
            self._parser = ParserManager.get_parser(
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
                hint="mend `tool_parser` or `reasoning_parser` in the catalog",
            ) from error
        # A model that is cut short in a call is no error, and worth no traceback.
        logging.getLogger("vllm.tool_parsers").setLevel(logging.CRITICAL)
        self._reasons = bool(model.reasoning_parser)
        self._config = config
        self._tokenizer = tokenizer

    def create(self, form: Form | None) -> "ChatParser | None":
        """Return what reads the answers to a request, None where they are text.

        Raises `RequestRefusedError`.
        """
        if form is None and not self._reasons:
            return None
        with refuse_on_error():
            from vllm.entrypoints.openai.chat_completion.protocol import (
                ChatCompletionRequest,
            )

            request = ChatCompletionRequest(messages=[], **form or {})
            parser = self._parser_of(request)
            constraint = request.extract_structured_outputs()
        chat = ChatParser(request, parser, constraint, reasons=self._reasons)
        chat.source = _source(form or {})
        return chat

    def _parser_of(self, request: Any) -> Any:
        """Return the request's parser, which may change what the request asks for."""
        if self._parser is None:
            return None
        arguments = request.build_chat_params(None, "auto").chat_template_kwargs
        parser = self._parser(
            self._tokenizer,
            request.tools,
            chat_template_kwargs=arguments,
            model_config=self._config,
        )
        if self._reasons or request.tool_choice != "none":
            parser.adjust_request(request)
        return parser


def _source(form: Form) -> str:
    """Return which field says what an answer must look like."""
    for name in ("structured_outputs", "response_format"):
        if name in form and form.get("tool_choice", "auto") in ("none", "auto"):
            return name
    return "tools"


class ChatParser:
    """One request as vLLM's server sees it; reads the answers to it."""

    def __init__(
        self, request: Any, parser: Any, constraint: Any, *, reasons: bool
    ) -> None:
        """`request` is vLLM's, adjusted by its `parser`.

        `constraint` is vLLM's `StructuredOutputsParams`, None where anything may be
        said; `reasons` whether the model reasons.
        """
        self._request = request
        self._parser = parser
        self.constraint = constraint
        self.reasons = reasons
        self.source = "tools"
        """The field that what is asked for comes from."""

    @property
    def grammar(self) -> tuple[Grammar, str] | None:
        """Return the grammar that the constraint becomes, and the field it is from.

        None where there is none to compile. Raises `RequestRefusedError`.
        """
        constraint = self.constraint
        if constraint is None or constraint.json_object:
            return None
        param = f"body.{self.source}"
        with refuse_on_error(param):
            return _grammar(constraint), param

    @property
    def hides_special_tokens(self) -> bool:
        """Say whether the parser can do without special tokens in the text."""
        return bool(self._request.skip_special_tokens)

    @property
    def hides_logprobs(self) -> bool:
        """Say whether log probabilities would tell of reasoning that is hidden."""
        return self._parser is not None and not self._request.include_reasoning

    def parse(self, output: Any) -> dict[str, Any]:
        """Return the fields of a `Choice` that the output's text holds.

        As in `chat_completion_full_generator` of vLLM's server.
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
            fields |= self._called(calls or [], output.finish_reason)
            if request.tool_choice != "auto":
                fields["text"] = content or ""
        return fields

    def reasoning_tokens(self, token_ids: list[int]) -> int:
        """Return how many of the tokens are reasoning."""
        return self._parser.count_reasoning_tokens(token_ids) if self._parser else 0

    def _called(self, calls: list[Any], finish_reason: str) -> dict[str, Any]:
        """Return the calls in OpenAI's shape, and whether they end the answer so."""
        request = self._request
        if request.parallel_tool_calls is False:
            calls = calls[:1]
        ends = request.tool_choice == "auto" and calls
        if ends or (request.tool_choice == "required" and finish_reason == "stop"):
            finish_reason = "tool_calls"
        return {
            "tool_calls": [_call(call) for call in calls],
            "finish_reason": finish_reason,
        }


def _grammar(constraint: Any) -> Grammar:
    """Return what vLLM will make of a `StructuredOutputsParams`."""
    from vllm.v1.structured_output.backend_xgrammar import (
        has_xgrammar_unsupported_json_features,
    )
    from vllm.v1.structured_output.utils import choice_as_grammar

    if constraint.json is not None:
        if has_xgrammar_unsupported_json_features(constraint.json):
            raise ValueError("the schema asks for what can't be enforced here")
        return "json", json.dumps(constraint.json)
    if constraint.choice is not None:
        return "grammar", choice_as_grammar(constraint.choice)
    kinds = ("regex", "grammar", "structural_tag")
    kind = next(kind for kind in kinds if getattr(constraint, kind) is not None)
    return kind, getattr(constraint, kind)


@contextmanager
def refuse_on_error(param: str | None = None) -> Iterator[None]:
    """Turn whatever vLLM's code says about a request into that request's error."""
    try:
        yield
    except RequestRefusedError:
        raise
    except Exception as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        reason = str(told).strip().partition("\n")[0][:200] or type(error).__name__
        raise RequestRefusedError(reason, code="invalid_value", param=param) from error


def _call(call: Any) -> dict[str, Any]:
    from vllm.renderers.chat_utils import make_tool_call_id

    return {
        "id": call.id or make_tool_call_id(),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
