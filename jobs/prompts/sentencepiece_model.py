"""Makes a tokenizer of a SentencePiece model, in the form in which models are trained.

SentencePiece puts a space before every text that it encodes. The models of Llama's
family, whose publishers encode each part of a prompt by itself, expect that space after
every special token. transformers 5 leaves it out if there is no `tokenizer.json`.
"""

from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
)

from batchchat.jobs.errors import ConfigError

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_SAMPLES = (
    "Hello, world!",
    "[INST] Don't say 1,234.5 or x_1?  [/INST] ",
    " two  spaces\n\n\tand lines\n",
    "Grüße, 你好, \N{GRINNING FACE}\N{ZERO WIDTH JOINER}",
    "def f(a):\n    return {'a': [a] * 2}",
)
"""Texts for which the two tokenizers are compared."""


def sentencepiece_tokenizer(file: Path, settings: dict[str, Any]) -> Tokenizer | None:
    """Return the tokenizer of `tokenizer.model`, None if it is not SentencePiece's.

    It is also None if the package `sentencepiece`, which vLLM requires, is missing.
    `settings` are those of `tokenizer_config.json`.

    Raises:
        ConfigError: the model can't be converted exactly.

    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        return None
    try:
        model = SentencePieceProcessor(model_file=str(file))
    except (OSError, RuntimeError):
        return None  # such as the file of the same name that Llama 3 has
    tokenizer = _converted(model)
    if any(tokenizer.encode(text).ids != model.encode(text) for text in _SAMPLES):
        raise _error(file, "is of a kind that can't be converted exactly")
    if settings.get("legacy") is False and _adds_space(model):
        tokenizer.normalizer = None
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="first", split=False
        )
    _add_tokens(tokenizer, settings, file)
    return tokenizer


def _converted(model: Any) -> Tokenizer:
    """Return a tokenizer with the pieces of a model, and its control tokens."""
    size = range(model.get_piece_size())
    vocabulary = {model.id_to_piece(number): number for number in size}
    normal = [number for number in size if _is_normal(model, number)]
    normal.sort(key=model.get_score, reverse=True)  # the order of merging
    unknown = model.id_to_piece(model.unk_id())
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges([*map(model.id_to_piece, normal)]),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback="<0x00>" in vocabulary,
        )
    )
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", _SPACE)]
    if _adds_space(model):
        spaces.insert(0, normalizers.Prepend(_SPACE))
    tokenizer.normalizer = normalizers.Sequence(spaces)
    control = [model.id_to_piece(number) for number in size if model.is_control(number)]
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in (unknown, *control)]
    )
    return tokenizer


def _adds_space(model: Any) -> bool:
    """Return whether a model puts a space before a text, as most do."""
    return any(_SPACE in piece for piece in model.encode("x", out_type=str))


def _is_normal(model: Any, number: int) -> bool:
    """Return whether a piece is the result of merges, or a character."""
    return not (
        model.is_control(number)
        or model.is_unknown(number)
        or model.is_unused(number)
        or model.is_byte(number)
    )


def _merges(pieces: list[str]) -> list[tuple[str, str]]:
    """Return the merges that lead to the pieces, which are in the order of merging."""
    order = {piece: number for number, piece in enumerate(pieces)}
    halves = (
        sorted(
            (
                (piece[:at], piece[at:])
                for at in range(1, len(piece))
                if piece[:at] in order and piece[at:] in order
            ),
            key=lambda pair: (order[pair[0]], order[pair[1]]),
        )
        for piece in pieces
    )
    return list(chain.from_iterable(halves))


def _add_tokens(tokenizer: Tokenizer, settings: dict[str, Any], file: Path) -> None:
    """Add the tokens that `tokenizer_config.json` adds to those of the model."""
    added: dict[str, Any] = settings.get("added_tokens_decoder") or {}
    for number, token in sorted(added.items(), key=lambda item: int(item[0])):
        options = ("lstrip", "rstrip", "single_word", "normalized", "special")
        given = {name: token[name] for name in options if name in token}
        one = AddedToken(token["content"], **given)
        tokenizer.add_special_tokens([one]) if one.special else tokenizer.add_tokens(
            [one]
        )
        if tokenizer.token_to_id(one.content) != int(number):
            raise _error(file, f"does not have room for the token {number}")


def _error(file: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"`{file}` {reason}, and there is no `tokenizer.json`",
        hint="use a copy of the model that has a `tokenizer.json`",
    )
