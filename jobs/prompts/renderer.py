"""From a request to the tokens that the engine is given."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from sys import maxsize
from typing import Any, NamedTuple, get_args

from tokenizers import Tokenizer

from batchchat.jobs.catalog.catalog import Model, SpecialToken
from batchchat.jobs.catalog.model_files import model_folder
from batchchat.jobs.errors import ConfigError, ModelNotFoundError, RequestRefusedError
from batchchat.jobs.internal_errors import fail_request_on_bug
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.special_tokens import SpecialTokenGuard, special_tokens
from batchchat.jobs.requests.output_constraints import has_tools, template_arguments
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.schema import Request

_TEMPLATE_TOKENS = 512
"""Tokens that a template may add to what a user wrote."""


class Prompt(NamedTuple):
    """A rendered conversation and its tokens."""

    text: str
    token_ids: list[int]


class PromptRenderer:
    """Renders and tokenizes for one model, without loading the model.

    `context_length` counts the prompt's tokens and the answer's together.
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
        encode_many: Callable[[list[str]], list[int]] | None = None,
    ) -> None:
        """`encode` is None where the tokenizer can't be read without the engine.

        `finds_calls` says whether calls of tools are found in the model's answers.
        Without a `guard` a text of the request may spell special tokens.
        """
        self._guard = guard
        self.encode_many = encode_many
        self.parses_tool_calls = parses_tool_calls
        self.template = template
        self.encode = encode
        self.context_length = context_length
        self.vocabulary = vocabulary

    def complete_from_engine(
        self, context_length: int, encode: Callable[[str], list[int]]
    ) -> None:
        """Take what only a loaded engine knows, where the files did not say."""
        self.context_length = context_length
        self.encode = self.encode or encode

    def render(self, request: Request) -> str:
        """Return the prompt's text. Raises `RequestRefusedError`."""
        self._check_tools(request)
        if self._guard is not None:
            self._guard.check(request)
        return self._rendered(request, str)

    def _rendered(self, request: Request, transform: Callable[[str], str]) -> str:
        return self.template.render(
            request.body.messages,
            request.parameter("tools"),
            require_tool_support=has_tools(request),
            transform=transform,
            **template_arguments(request),
        )

    def tokenize(self, request: Request, text: str) -> list[int]:
        """Return the tokens of the request's prompt, which is `text`.

        Raises:
            RequestRefusedError: the request spells a special token, and it can't be
                taken as text.

        """
        if self.encode is None:
            raise ConfigError("the model's tokenizer is not at hand")
        if self._guard is not None and self._guard.contains_special_token(request):
            return self._guard.encode(partial(self._rendered, request))
        return self.encode(text)

    def count_tokens(self, prompts: list[tuple[Request, str]]) -> list[int | None]:
        """Return the tokens of many prompts, None where one can't be tokenized.

        From any thread, without the interpreter while it tokenizes. The tokenizer
        has threads of its own besides, unless `TOKENIZERS_PARALLELISM` is `false`.
        """
        if self.encode_many is None:
            return [self._length(*prompt) for prompt in prompts]
        counts = self.encode_many([text for _, text in prompts])
        guard = self._guard
        return [
            self._length(*prompt) if guard and _spells(guard, prompt[0]) else count
            for prompt, count in zip(prompts, counts, strict=True)
        ]

    def _length(self, request: Request, text: str) -> int | None:
        try:
            return len(self.tokenize(request, text))
        except RequestRefusedError:
            return None

    def prepare(self, request: Request) -> Prompt:
        """Return the prompt with its tokens, if the model can answer it.

        Raises:
            RequestRefusedError: the template refuses the conversation, it is too
                long for the model, or it names tokens that there are not.

        """
        self._check_tokens(request)
        text = self.render(request)
        token_ids = self.tokenize(request, text)
        if self.context_length and len(token_ids) >= self.context_length:
            raise RequestRefusedError(
                f"the prompt has {len(token_ids):,} tokens, and the model's context"
                f" of {self.context_length:,} leaves no room for an answer",
                code="context_length_exceeded",
                param="body.messages",
            )
        return Prompt(text, token_ids)

    @property
    def max_unchecked_bytes(self) -> int:
        """Lines of plain text and of fewer bytes can't hold too long a prompt.

        Tokenizing a file takes far longer than reading it, and no prompt has more
        tokens than bytes; so only lines of many bytes are looked at closely.
        """
        if self.encode is None or not self.context_length:
            return maxsize
        return max(1, self.context_length - _TEMPLATE_TOKENS)

    def check(self, request: Request, size: int) -> Problem | None:
        """Return why a request of `size` bytes can't be answered, if that is so."""
        try:
            with fail_request_on_bug(f"line {request.line}"):
                self._check_tools(request)
                if size >= self.max_unchecked_bytes:
                    self.prepare(request)
        except RequestRefusedError as error:
            return Problem(error.code, request.line, error.message, error.param)
        return None

    def _check_tools(self, request: Request) -> None:
        """Refuse tools where nothing finds their calls in what the model writes."""
        if has_tools(request) and not self.parses_tool_calls:
            raise RequestRefusedError(
                "tool calls of this model are found by nothing: its entry of the"
                " catalog has no `tool_parser`",
                code="unsupported_parameter",
                param="body.tools",
            )

    def _check_tokens(self, request: Request) -> None:
        """Refuse token ids past the vocabulary: the engine would choke on them."""
        if self.vocabulary is None:
            return
        for name in ("logit_bias", "stop_token_ids", "allowed_token_ids"):
            tokens = request.parameter(name)
            if tokens and (largest := max(map(int, tokens))) >= self.vocabulary:
                raise RequestRefusedError(
                    f"token {largest} is past the model's {self.vocabulary:,} tokens",
                    code="invalid_value",
                    param=f"body.{name}",
                )


def load_renderer(model: Model, models: Path) -> PromptRenderer:
    """Return the prompter of `model`, from its files.

    Raises:
        ModelNotFoundError: the files are not at hand and can't be fetched.
        ConfigError: they hold no chat template, or one that can't be read.

    """
    return _renderer(model, model_folder(model, models))


def load_local_renderer(model: Model, models: Path) -> PromptRenderer:
    """Return the same, and fetch nothing that a prompt can do without.

    Where the catalog has all that a prompt needs and the files are not at hand, it
    renders and does not tokenize.
    """
    try:
        folder = model_folder(model, models, fetch=not model.renders_without_files)
    except ModelNotFoundError:
        if not model.renders_without_files:
            raise
        folder = None
    return _renderer(model, folder)


def _renderer(model: Model, folder: Path | None) -> PromptRenderer:
    config = _json(folder, "config.json")
    settings = _json(folder, "tokenizer_config.json")
    source = model.chat_template or _template_source(folder, settings)
    if source is None:
        raise ConfigError(
            f"model `{model.name}` has no chat template",
            hint="set `chat_template` for it in the catalog",
        )
    tokens = _special_tokens(settings) | {**model.special_tokens}
    shape = config.get("text_config") or config
    length = (
        model.context_length
        or model.engine.get("max_model_len")
        or shape.get("max_position_embeddings")
    )
    tokenizer = _tokenizer(folder)
    return PromptRenderer(
        ChatTemplate(source, tokens),
        _encoder(tokenizer) if tokenizer else None,
        length,
        shape.get("vocab_size"),
        parses_tool_calls=model.tool_parser is not None,
        guard=None if model.allow_special_tokens else _guard(model, tokens, tokenizer),
        encode_many=_counter(tokenizer) if tokenizer else None,
    )


def _guard(
    model: Model, tokens: dict[str, str], tokenizer: Tokenizer | None
) -> SpecialTokenGuard:
    special = special_tokens(tokenizer) if tokenizer else tokens.values()
    return SpecialTokenGuard(special, model.turn_markers, tokenizer)


def _tokenizer(folder: Path | None) -> Tokenizer | None:
    file = folder and folder / "tokenizer.json"
    if file is None or not file.is_file():
        return None
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _encoder(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def _counter(tokenizer: Tokenizer) -> Callable[[list[str]], list[int]]:
    def count(texts: list[str]) -> list[int]:
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(one) for one in encoded]

    return count


def _spells(guard: SpecialTokenGuard, request: Request) -> bool:
    try:
        return guard.contains_special_token(request)
    except RequestRefusedError:
        return True


def _template_source(folder: Path | None, settings: dict[str, Any]) -> str | None:
    file = folder and folder / "chat_template.jinja"
    if file is not None and file.is_file():
        return file.read_text("utf-8")
    source = settings.get("chat_template")
    if isinstance(source, list):  # several by name: the one for plain chats
        named = {entry["name"]: entry["template"] for entry in source}
        source = named.get("default")
    return source


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    tokens = {name: settings.get(name) for name in get_args(SpecialToken)}
    return {
        name: token["content"] if isinstance(token, dict) else token
        for name, token in tokens.items()
        if token is not None
    }


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    file = folder and folder / name
    if file is None or not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"`{file}` is not JSON: {error}") from None
    return value if isinstance(value, dict) else {}
