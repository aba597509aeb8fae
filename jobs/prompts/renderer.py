"""Renders requests into prompts and tokenizes them."""

from collections.abc import Callable
from functools import partial
from sys import maxsize
from typing import NamedTuple

from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.length_bound import LengthBound
from batchchat.jobs.prompts.special_tokens import SpecialTokenGuard
from batchchat.jobs.requests.output_constraints import has_tools, template_arguments
from batchchat.jobs.requests.schema import Request

_READ_BY_PARSERS = {"enable_thinking", "thinking"}
"""Variables that vLLM's reasoning parsers read, even if the template does not."""


class Prompt(NamedTuple):
    """A rendered conversation and its tokens."""

    text: str
    token_ids: list[int]


class PromptRenderer:
    """Renders and tokenizes for one model, without loading the model.

    `context_length` and `vocabulary` are numbers of tokens, None if unknown.
    """

    def __init__(
        self,
        template: ChatTemplate,
        encode: Callable[[str], list[int]] | None,
        context_length: int | None,
        vocabulary: int | None = None,
        *,
        parses_tool_calls: bool = True,
        guard: SpecialTokenGuard | None = None,
        count_many: Callable[[list[str]], list[int]] | None = None,
        tool_template: ChatTemplate | None = None,
        require_all_messages: bool = False,
        length_bound: LengthBound | None = None,
    ) -> None:
        """Render with `template` and tokenize with `encode`.

        Requests with tools are rendered with `tool_template` if the model has one.
        With `require_all_messages`, a template must not leave out a message.
        `encode` is None if only the engine can load the tokenizer. `count_many` returns
        the numbers of tokens of many prompts at once. `parses_tool_calls` says that
        tool calls in the model's answers can be parsed. Without a `guard`, special
        tokens in the texts of a request have an effect. `length_bound` knows the
        vocabulary.
        """
        self._guard = guard
        self._length_bound = length_bound or LengthBound()
        self.count_many = count_many
        self.parses_tool_calls = parses_tool_calls
        self.template = template
        self._require_all_messages = require_all_messages
        self._tool_template = tool_template or template
        self.encode = encode
        self.context_length = context_length
        self.vocabulary = vocabulary

    @property
    def reads_time(self) -> bool:
        """Whether prompts may depend on the time of their requests."""
        return self.template.reads_time or self._tool_template.reads_time

    def complete_from_engine(
        self, context_length: int, encode: Callable[[str], list[int]]
    ) -> None:
        """Set what the model's files did not provide, from a loaded engine."""
        self.context_length = context_length
        self.encode = self.encode or encode

    def render(self, request: Request) -> str:
        """Return the prompt's text.

        Raises:
            RequestRefusedError: the template rejects the conversation, or the request
                contains tokens or texts that the model does not support.

        """
        self._check_tools(request)
        self._check_template_arguments(request)
        self._check_tokens(request)
        if self._guard is not None:
            self._guard.check(request)
        return self._rendered(request, str)

    def _rendered(self, request: Request, transform: Callable[[str], str]) -> str:
        return self._template_for(request).render(
            request.body.messages,
            request.parameter("tools"),
            require_tool_support=has_tools(request),
            require_all_messages=self._require_all_messages and transform is str,
            transform=transform,
            time=request.time,
            **template_arguments(request),
        )

    def _template_for(self, request: Request) -> ChatTemplate:
        has_tools = request.parameter("tools") is not None
        return self._tool_template if has_tools else self.template

    def tokenize(self, request: Request, text: str) -> list[int]:
        """Return the tokens of the request's prompt, which is `text`.

        Raises:
            RequestRefusedError: the request contains a special token that can't be
                tokenized as text.
            ConfigError: the tokenizer is not available.

        """
        if self.encode is None:
            raise ConfigError(
                "the model's tokenizer is not available",
                hint="download the model where it runs, or use its folder as `source`",
            )
        if self._guard is not None and self._guard.contains_special_token(request):
            return self._guard.encode(partial(self._rendered, request))
        return self.encode(text)

    def count_tokens(self, prompts: list[tuple[Request, str]]) -> list[int | None]:
        """Return the number of tokens of each prompt, None if it can't be tokenized.

        Thread-safe, and releases the interpreter lock meanwhile. The tokenizer also
        uses threads of its own unless `TOKENIZERS_PARALLELISM` is `false`.
        """
        if self.count_many is None:
            return [self._length(*prompt) for prompt in prompts]
        counts = self.count_many([text for _, text in prompts])
        guard = self._guard
        return [
            self._length(*prompt)
            if guard and _may_contain_special_token(guard, prompt[0])
            else count
            for prompt, count in zip(prompts, counts, strict=True)
        ]

    def _length(self, request: Request, text: str) -> int | None:
        try:
            return len(self.tokenize(request, text))
        except RequestRefusedError:
            return None

    def prepare(self, request: Request) -> Prompt:
        """Return the prompt with its tokens.

        Raises:
            RequestRefusedError: `render` or `tokenize` raise it, or the prompt is too
                long for the model.

        """
        text = self.render(request)
        return Prompt(text, self._fitting_tokens(request, text))

    def check(self, request: Request) -> None:
        """Raise the `RequestRefusedError` that `prepare` would raise, but faster.

        No prompt has more tokens than bytes, so only long prompts are tokenized.
        """
        text = self.render(request)
        if self.encode is None:  # only the engine can tokenize
            return
        has_special = self._guard and self._guard.contains_special_token(request)
        length = self.context_length or maxsize
        if has_special or len(text.encode()) >= length:
            self._fitting_tokens(request, text)

    def _fitting_tokens(self, request: Request, text: str) -> list[int]:
        """Return the tokens of a prompt that leaves room for an answer."""
        self._reject_far_too_long(text)
        token_ids = self.tokenize(request, text)
        if self.context_length and len(token_ids) >= self.context_length:
            raise _too_long(f"{len(token_ids):,}", self.context_length)
        return token_ids

    def _reject_far_too_long(self, text: str) -> None:
        """Reject a prompt that would take long to tokenize, and in vain."""
        if self.encode is None or not self.context_length:
            return
        least = self._length_bound.find_excess(text, self.encode, self.context_length)
        if least is not None:
            raise _too_long(f"at least {least:,}", self.context_length)

    def _check_tools(self, request: Request) -> None:
        """Reject tools if the model's tool calls can't be parsed."""
        if has_tools(request) and not self.parses_tool_calls:
            raise RequestRefusedError(
                "tool calls are not supported for this model: its catalog entry has no"
                " `tool_parser`",
                code="unsupported_parameter",
                param="tools",
            )

    def _check_template_arguments(self, request: Request) -> None:
        """Reject variables that the template does not read, which may be misspelled."""
        given = request.parameter("chat_template_kwargs")
        if not given:
            return
        variables = self._template_for(request).variables
        unknown = sorted(given.keys() - variables - _READ_BY_PARSERS)
        if unknown:
            names = ", ".join(f"`{name}`" for name in unknown)
            known = ", ".join(f"`{name}`" for name in sorted(variables)) or "none"
            raise RequestRefusedError(
                f"the model's chat template does not read {names}; variables that"
                f" requests can set: {known}",
                code="unknown_parameter",
                param=f"chat_template_kwargs.{unknown[0]}",
            )

    def _check_tokens(self, request: Request) -> None:
        """Reject token ids outside of the vocabulary, which would crash the engine."""
        if self.vocabulary is None:
            return
        for name in ("logit_bias", "stop_token_ids", "allowed_token_ids"):
            tokens = request.parameter(name)
            if tokens and (largest := max(map(int, tokens))) >= self.vocabulary:
                raise RequestRefusedError(
                    f"token {largest} is unknown: the model has {self.vocabulary:,}",
                    code="invalid_value",
                    param=name,
                )


def _too_long(tokens: str, context_length: int) -> RequestRefusedError:
    return RequestRefusedError(
        f"the prompt has {tokens} tokens, and the model's context of"
        f" {context_length:,} leaves no room for an answer",
        code="context_length_exceeded",
        param="messages",
    )


def _may_contain_special_token(guard: SpecialTokenGuard, request: Request) -> bool:
    try:
        return guard.contains_special_token(request)
    except RequestRefusedError:
        return True
