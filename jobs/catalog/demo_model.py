"""Builds the demo model: a tiny Llama with random weights, in seconds and offline.

It has a configuration, safetensors weights and a byte-level BPE tokenizer that is
trained when it is built. Only its answers are noise. The weights come from a fixed
seed, so the same request gets the same answer on every machine.
"""

import json
import random
import struct
import sys
from array import array
from importlib import resources
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING
from uuid import uuid4

from batchchat.jobs.catalog.template_source import template_text
from batchchat.jobs.private_files import create_folder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DEMO_MODEL_VERSION = 2
"""Part of the folder's name, so that versions never share files."""

_SEED = 1

_VOCABULARY_SIZE = 1024
_HIDDEN_SIZE = 256
_LAYERS = 4
_HEADS = 4
_INTERMEDIATE_SIZE = 768
_CONTEXT_TOKENS = 2048
_SPECIAL_TOKENS = [
    "<s>",
    "<|end|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
]


def demo_model(models_folder: Path) -> Path:
    """Return the folder of the demo model in `models_folder`, building it if needed.

    It is built in a temporary folder and then renamed, so that concurrent or killed
    processes never leave an incomplete model.
    """
    folder = models_folder / f"demo-{DEMO_MODEL_VERSION}"
    if not folder.is_dir():
        temporary = models_folder / f".demo-{uuid4().hex}"
        create_folder(models_folder)
        temporary.mkdir()
        _make(temporary)
        try:
            temporary.rename(folder)
        except OSError:  # another process was first
            rmtree(temporary)
    return folder


def _make(folder: Path) -> None:
    _train_tokenizer().save(str(folder / "tokenizer.json"))
    _write_json(folder / "config.json", _config())
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    (folder / "chat_template.jinja").write_text(template_text("demo"), "utf-8")
    _write_weights(folder / "model.safetensors")


def _train_tokenizer() -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=_SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = (
        resources.files("batchchat.jobs.catalog")
        .joinpath("demo_corpus.txt")
        .read_text("utf-8")
    )
    tokenizer.train_from_iterator(corpus.splitlines(), trainer)
    return tokenizer


def _config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": _VOCABULARY_SIZE,
        "hidden_size": _HIDDEN_SIZE,
        "intermediate_size": _INTERMEDIATE_SIZE,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "head_dim": _HIDDEN_SIZE // _HEADS,
        "max_position_embeddings": _CONTEXT_TOKENS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32",
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _SPECIAL_TOKENS[0],
        "eos_token": _SPECIAL_TOKENS[1],
        "model_max_length": _CONTEXT_TOKENS,
        "clean_up_tokenization_spaces": False,
    }


def _shapes() -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of all weights."""
    square = (_HIDDEN_SIZE, _HIDDEN_SIZE)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (_VOCABULARY_SIZE, _HIDDEN_SIZE),
        "model.norm.weight": (_HIDDEN_SIZE,),
        "lm_head.weight": (_VOCABULARY_SIZE, _HIDDEN_SIZE),
    }
    for index in range(_LAYERS):
        layer = f"model.layers.{index}"
        shapes |= {f"{layer}.self_attn.{name}_proj.weight": square for name in "qkvo"}
        shapes |= {
            f"{layer}.mlp.gate_proj.weight": (_INTERMEDIATE_SIZE, _HIDDEN_SIZE),
            f"{layer}.mlp.up_proj.weight": (_INTERMEDIATE_SIZE, _HIDDEN_SIZE),
            f"{layer}.mlp.down_proj.weight": (_HIDDEN_SIZE, _INTERMEDIATE_SIZE),
            f"{layer}.input_layernorm.weight": (_HIDDEN_SIZE,),
            f"{layer}.post_attention_layernorm.weight": (_HIDDEN_SIZE,),
        }
    return shapes


def _write_weights(file: Path) -> None:
    """Write float32 tensors in the safetensors format.

    Format: https://github.com/huggingface/safetensors#format
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in _shapes().items():
        size = 4 * _numbers(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    source = random.Random(_SEED)  # noqa: S311 - not a secret
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(head)) + head)
        for shape in _shapes().values():
            out.write(_weight(shape, source))


def _weight(shape: tuple[int, ...], source: random.Random) -> bytes:
    """Return the bytes of a tensor: ones for a norm, else uniform around zero."""
    size = _numbers(shape)
    if len(shape) == 1:
        numbers = array("f", [1.0]) * size
    else:
        scale = (3 / shape[1]) ** 0.5 / 2**31
        whole = array("i", source.randbytes(4 * size))
        if sys.byteorder == "big":
            whole.byteswap()
        numbers = array("f", [number * scale for number in whole])
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
