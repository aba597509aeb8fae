"""Loads the prompt renderer of a model from the model's files and the catalog."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from tokenizers import Tokenizer

from batchchat.jobs.catalog.catalog import Model, SpecialToken
from batchchat.jobs.catalog.model_files import model_folder
from batchchat.jobs.errors import ConfigError, ModelNotFoundError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.length_bound import LengthBound
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.prompts.special_tokens import SpecialTokenGuard, special_tokens
from batchchat.jobs.prompts.template_files import (
    DEFAULT,
    TOOL_USE,
    chat_templates,
    read_object,
)
from batchchat.jobs.prompts.tokenizer_loading import (
    adds_space,
    check_special_tokens,
    load_tokenizer,
)


def load_renderer(model: Model, models_folder: Path) -> PromptRenderer:
    """Return the renderer of `model`, downloading its small files if needed.

    Raises:
        ModelNotFoundError: the files are not available and can't be downloaded.
        ConfigError: the model has no chat template, or an invalid one.

    """
    return _build(model, model_folder(model, models_folder))


def load_local_renderer(model: Model, models_folder: Path) -> PromptRenderer:
    """Return the renderer of `model`, downloading only what rendering requires.

    If the catalog entry suffices to render and the files are not available, the
    renderer can't tokenize. Raises the same errors as `load_renderer`.
    """
    try:
        folder = model_folder(
            model, models_folder, download=not model.renders_without_files
        )
    except ModelNotFoundError:
        if not model.renders_without_files:
            raise
        folder = None
    return _build(model, folder)


def _build(model: Model, folder: Path | None) -> PromptRenderer:
    config = read_object(folder / "config.json") if folder else {}
    settings = read_object(folder / "tokenizer_config.json") if folder else {}
    sources = _template_sources(model, folder, settings)
    tokens = _special_tokens(settings) | {**model.special_tokens}
    tokenizer = load_tokenizer(folder, settings) if folder else None
    if tokenizer is not None:
        for text in sources.values():
            check_special_tokens(tokenizer, text, tokens, settings)
    templates = _templates(model, sources, tokens, tokenizer)
    text_config = config.get("text_config") or config
    length = (
        _max_model_len(model)
        or model.context_length
        or text_config.get("max_position_embeddings")
    )
    return PromptRenderer(
        templates[DEFAULT],
        _encoder(tokenizer) if tokenizer else None,
        length,
        text_config.get("vocab_size"),
        parses_tool_calls=model.tool_parser is not None,
        guard=None if model.allow_special_tokens else _guard(model, tokens, tokenizer),
        count_many=_counter(tokenizer) if tokenizer else None,
        tool_template=templates.get(TOOL_USE),
        require_all_messages=True,
        length_bound=LengthBound(tokenizer),
    )


def _max_model_len(model: Model) -> int | None:
    """Return the argument that the engine will use in place of `context_length`."""
    length = model.engine.get("max_model_len")
    return length if isinstance(length, int) and length > 0 else None


def _template_sources(
    model: Model, folder: Path | None, settings: dict[str, Any]
) -> dict[str, str]:
    """Return the templates that requests can use: `default`, perhaps `tool_use`."""
    if model.chat_template:
        return {DEFAULT: model.chat_template}
    found = chat_templates(folder, settings) if folder else {}
    if DEFAULT not in found:
        names = ", ".join(f"`{name}`" for name in sorted(found))
        raise ConfigError(
            f"model `{model.name}` has no "
            + (f"default chat template, only {names}" if found else "chat template"),
            hint="set `chat_template` for it in the catalog",
        )
    return {name: found[name] for name in (DEFAULT, TOOL_USE) if name in found}


def _templates(
    model: Model,
    sources: dict[str, str],
    tokens: dict[str, str],
    tokenizer: Tokenizer | None,
) -> dict[str, ChatTemplate]:
    beginning = tokens.get("bos_token", "")
    templates = {
        name: ChatTemplate(
            text,
            tokens,
            f"the chat template `{name}` of model `{model.name}`",
            adds_space=adds_space(tokenizer, beginning) if tokenizer else None,
        )
        for name, text in sources.items()
    }
    for template in templates.values():
        template.check_limits()
    return templates


def _guard(
    model: Model, tokens: dict[str, str], tokenizer: Tokenizer | None
) -> SpecialTokenGuard:
    named = tokens.values()
    special = special_tokens(tokenizer, named) if tokenizer else named
    return SpecialTokenGuard(special, model.turn_markers, tokenizer)


def _encoder(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def _counter(tokenizer: Tokenizer) -> Callable[[list[str]], list[int]]:
    def count(texts: list[str]) -> list[int]:
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(one) for one in encoded]

    return count


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    tokens = {name: settings.get(name) for name in get_args(SpecialToken)}
    return {
        name: token["content"] if isinstance(token, dict) else token
        for name, token in tokens.items()
        if token is not None
    }
