"""The second example of the provider's page: its prompt, its tokens and its cost.

The page is https://deepinfra.com/meta-llama/Meta-Llama-3-70B-Instruct/api.
"""

import importlib.util
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.catalog.usage import Price
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.prompts.loader import load_local_renderer
from tests.support import ended
from tests.support.ended import Hand, completion
from tests.support.input_lines import encoded, parse_valid

ANSWER = (
    "Bonjour! Let me tell you, my friend, cooking lamb is an art form, and I'm more"
    " than happy to share with you not two, but three of my favorite techniques to coax"
    " out the rich, unctuous flavors and tender textures of this majestic protein."
    ' First, we have the classic "Sous Vide" method. Next, we have the ancient art of'
    ' "Sous le Sable". And finally, we have the more modern technique of "Hot Smoking."'
)
TURNS = [
    ("system", "Respond like a michelin starred chef."),
    ("user", "Can you name at least two different techniques to cook lamb?"),
    ("assistant", ANSWER),
    ("user", "Tell me more about the second method."),
]
LINE = encoded({"messages": [{"role": role, "content": text} for role, text in TURNS]})
PROMPT = (
    "<|begin_of_text|>"
    + "".join(
        f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>"
        for role, text in TURNS
    )
    + "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
PRICE = Price(Decimal("0.59"), Decimal("0.79"), "2024-05-01")
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Meta's tokenizer of Llama 3 splits texts."""


def rendered(folder):
    model = load_catalog().find("L3-8B-Lunaris-v1")
    return load_local_renderer(model, folder).render(parse_valid(LINE))


def test_the_prompt_has_the_format_of_llama_3(tmp_path):
    assert rendered(tmp_path) == PROMPT


def test_the_prompt_has_149_tokens(tmp_path):
    """Needs Meta's vocabulary, which the package `llama-models` contains."""
    tiktoken = pytest.importorskip("tiktoken")
    load = pytest.importorskip("tiktoken.load")
    found = importlib.util.find_spec("llama_models")
    if found is None or found.origin is None:
        pytest.skip("the package `llama-models` is not installed")
    file = Path(found.origin).parent / "llama3/tokenizer.model"
    ranks = load.load_tiktoken_bpe(str(file))
    names = ("begin_of_text", "start_header_id", "end_header_id", "eot_id")
    special = {f"<|{name}|>": len(ranks) + at for at, name in enumerate(names)}
    encoding = tiktoken.Encoding(
        "llama3", pat_str=WORDS, mergeable_ranks=ranks, special_tokens=special
    )
    assert len(encoding.encode(rendered(tmp_path), allowed_special="all")) == 149


def test_the_example_has_the_published_cost(monkeypatch):
    monkeypatch.setattr(ended, "PRICE", PRICE)
    monkeypatch.setattr(ended, "MODEL", structs.replace(ended.MODEL, price=PRICE))
    answer = completion("Sous le Sable!", prompt_tokens=149, completion_tokens=338)
    hand = Hand()
    state = hand.ended(LINE, lambda _: answer)
    batch = batch_object(state)
    assert batch.usage is not None
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (149, 338)
    assert str(batch.estimated_cost) == "0.00035493"
    assert state.final is not None
    output = hand.file(state.final.output_file_id)
    assert b'"total_tokens":487' in output
    assert b'"estimated_cost":0.00035493}' in output
