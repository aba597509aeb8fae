"""Small tokenizers of the same kinds as those of the five models."""

import json
from importlib import resources
from typing import Any, Literal

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

CORPUS = (
    resources.files("batchchat.jobs.catalog")
    .joinpath("demo_corpus.txt")
    .read_text("utf-8")
)
LLAMA_3 = [
    "<|begin_of_text|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
]
LLAMA_2 = ["<unk>", "<s>", "</s>"]


def byte_level(special: list[str] = LLAMA_3) -> Tokenizer:
    """Return a tokenizer like that of Llama 3."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, special, initial_alphabet=alphabet)


def stripping() -> Tokenizer:
    """Return a byte-level tokenizer whose special tokens remove spaces around them."""
    tokenizer = byte_level()
    kinds: list[dict[str, bool]] = [{}, {"lstrip": True, "rstrip": True}]
    kinds += [{"rstrip": True}, {"lstrip": True}]
    tokens = zip(LLAMA_3, kinds, strict=True)
    return changed(tokenizer, dict(tokens))


def changed(tokenizer: Tokenizer, options: dict[str, dict[str, bool]]) -> Tokenizer:
    """Return the tokenizer with other options of its added tokens."""
    value = json.loads(tokenizer.to_str())
    for token in value["added_tokens"]:
        token.update(options.get(token["content"], {}))
    return Tokenizer.from_str(json.dumps(value))


def respaced(
    tokenizer: Tokenizer, scheme: Literal["first", "always", "never"]
) -> Tokenizer:
    """Return the newer form of a `legacy` tokenizer, with the same vocabulary."""
    newer = Tokenizer.from_str(tokenizer.to_str())
    newer.normalizer = None
    newer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    return newer


def metaspace(scheme: str) -> Tokenizer:
    """Return a tokenizer like the newer ones of Llama 2."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return trained(tokenizer, LLAMA_2)


def legacy() -> Tokenizer:
    """Return a tokenizer without pre-tokenizer, like those of Llama 2 and Mistral."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Metaspace()
    return trained(tokenizer, LLAMA_2)


def trained(tokenizer: Tokenizer, special: list[str], **options: Any) -> Tokenizer:
    """Return the tokenizer after training on a small text."""
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[AddedToken(token, normalized=False) for token in special],
        show_progress=False,
        **options,
    )
    tokenizer.train_from_iterator(CORPUS.splitlines()[:200], trainer)
    return tokenizer
