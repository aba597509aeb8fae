"""Loads a model's tokenizer, and finds out how it treats special tokens."""

import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from batchchat.jobs.catalog.template_source import is_built_in
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.prompts.sentencepiece_model import sentencepiece_tokenizer

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_MARKER = re.compile(r"<\|[^|<>\s]+\|>")
"""How built-in templates write special tokens, apart from `bos_token` and others."""


def load_tokenizer(folder: Path, settings: dict[str, Any]) -> Tokenizer | None:
    """Return the tokenizer in `folder`, None if only the engine can load it.

    It is that of `tokenizer.json` as it is, or of `tokenizer.model`. `settings` are
    those of `tokenizer_config.json`.

    Raises:
        ConfigError: a file is invalid, or the tokenizer can't be converted exactly.

    """
    file, model = folder / "tokenizer.json", folder / "tokenizer.model"
    if file.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library's errors have no class of their own
            raise ConfigError(
                f"`{file}` is not a tokenizer: {error}",
                hint="download the file again",
            ) from error
    elif model.is_file():
        converted = sentencepiece_tokenizer(model, settings)
        if converted is None:
            return None
        tokenizer = converted
    else:
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def adds_space(tokenizer: Tokenizer, token: str) -> bool | None:
    """Return whether the tokenizer puts a space after a special token.

    Older tokenizers of SentencePiece models do so, newer ones do not. None if it is of
    another kind.
    """
    if not any(_SPACE in one for one in _tokens(tokenizer, "x x")):
        return None
    return any(_SPACE in one for one in _tokens(tokenizer, f"{token}x"))


def _tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text, add_special_tokens=False).tokens


def check_special_tokens(
    tokenizer: Tokenizer,
    source: str,
    tokens: dict[str, str],
    settings: dict[str, Any],
) -> None:
    """Check that the special tokens of a chat template are single tokens.

    `tokens` are those that the template, which is `source`, may refer to by name.
    Others that it contains are found by the `settings` of `tokenizer_config.json`. In
    built-in templates, all texts between `<|` and `|>` are special tokens.

    Raises:
        ConfigError: the tokenizer takes a special token for a text.

    """
    named = {token for name, token in tokens.items() if name in source}
    literal = {token for token in _listed_tokens(settings) if token in source}
    marked = set(_MARKER.findall(source)) if is_built_in(source) else set()
    for token in sorted(filter(None, named | literal | marked)):
        is_first = token == tokens.get("bos_token")
        text = f"{token}x" if is_first else f"x{token}x"
        number = tokenizer.token_to_id(token)
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if number is None or number not in ids:
            raise ConfigError(
                f"the tokenizer does not encode `{token}`, a special token of the chat"
                " template, as one token",
                hint="use the `tokenizer.json` of the model's publisher, or set"
                " `chat_template` and `special_tokens` for the model in the catalog",
            )


def _listed_tokens(settings: dict[str, Any]) -> set[str]:
    """Return the special tokens that `tokenizer_config.json` lists."""
    added = settings.get("added_tokens_decoder") or {}
    listed = [token for token in added.values() if token.get("special")]
    for name in ("additional_special_tokens", "extra_special_tokens"):
        more = settings.get(name) or []
        listed += more.values() if isinstance(more, dict) else more
    texts = (one.get("content") if isinstance(one, dict) else one for one in listed)
    return {text for text in texts if isinstance(text, str)}
