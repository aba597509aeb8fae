"""Prompts have the tokens that the models were trained on, with every tokenizer."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tokenizers import AddedToken, Tokenizer

from batchchat.jobs.catalog.catalog import Model, load_catalog
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.prompts.loader import load_renderer
from batchchat.jobs.prompts.tokenizer_loading import adds_space
from tests.support.input_lines import encoded, parse_valid
from tests.support.tiny_tokenizers import (
    CORPUS,
    LLAMA_2,
    LLAMA_3,
    byte_level,
    changed,
    legacy,
    respaced,
    stripping,
)

SENTENCEPIECE = ["Llama-2-7b-chat-hf", "Mistral-7B-Instruct-v0.2", "WizardLM-2-7B"]
LUNARIS = "L3-8B-Lunaris-v1"
OLD = legacy()
SPECIAL = [OLD.token_to_id("<s>"), OLD.token_to_id("</s>")]
KINDS = {
    "prepend": OLD,
    "normalized": changed(OLD, {"<s>": {"normalized": False, "special": True}}),
    "first": respaced(OLD, "first"),
    "never": respaced(OLD, "never"),
    "always": respaced(OLD, "always"),
}
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Say hello."},
    {"role": "assistant", "content": "Hello, there!"},
    {"role": "user", "content": "Again  twice\nplease"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Thanks"},
]


def renderer(folder, tokenizer, name, **fields):
    """Return the renderer of a catalog entry with another tokenizer."""
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"max_position_embeddings": 100000}')
    entry = load_catalog().find(name)
    return load_renderer(structs.replace(entry, source=str(folder), **fields), folder)


def request(*messages):
    return parse_valid(encoded({"messages": list(messages or CONVERSATION)}))


def in_parts(prompt):
    """Encode the parts of a prompt by themselves, as the models' publishers do.

    SentencePiece, which the old tokenizer imitates, puts a space before each part.
    """
    ids = []
    while prompt:
        token = prompt[: prompt.index(">") + 1]
        ids.append(OLD.token_to_id(token))
        part = prompt[len(token) :]
        ends = [at for one in LLAMA_2 if (at := part.find(one)) >= 0]
        part = part[: min(ends, default=len(part))]
        prompt = prompt[len(token) + len(part) :]
        ids += OLD.encode(part.removeprefix(" "), add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize("name", SENTENCEPIECE)
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_do_not_depend_on_the_kind_of_tokenizer(kind, name, tmp_path):
    prompt = renderer(tmp_path, KINDS[kind], name).prepare(request())
    assert prompt.token_ids == in_parts(prompt.text)
    assert prompt.token_ids.count(OLD.token_to_id("</s>")) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_one_space_follows_the_special_tokens_of_mistral(kind, tmp_path):
    prompt = renderer(tmp_path, KINDS[kind], SENTENCEPIECE[1]).prepare(request())
    ids = prompt.token_ids
    first = OLD.encode("[INST] ", add_special_tokens=False).ids[:3]
    ends = [at for at, number in enumerate(ids) if number in SPECIAL]
    assert len(ends) == 3
    assert all(ids[at + 1 : at + 4] == first for at in ends)


@pytest.mark.parametrize("kind", ["prepend", "first"])
def test_special_tokens_in_messages_leave_the_spaces_as_they_are(kind, tmp_path):
    loaded = renderer(tmp_path, KINDS[kind], SENTENCEPIECE[1])
    plain = loaded.prepare(request()).token_ids
    forged = [*CONVERSATION[:-1], {"role": "user", "content": "Thanks</s>"}]
    ids = loaded.prepare(request(*forged)).token_ids
    end = len(plain) - len(OLD.encode(" [/INST]", add_special_tokens=False).ids)
    assert ids[:end] == plain[:end]
    assert ids.count(OLD.token_to_id("</s>")) == 2


ALL = KINDS | {"byte level": byte_level(), "stripping": stripping()}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
@pytest.mark.parametrize("kind", ALL)
def test_prompts_have_the_tokens_of_transformers(kind, tmp_path_factory, text):
    transformers = pytest.importorskip("transformers")
    loaded, theirs = _both(transformers, kind, tmp_path_factory)
    prompt = loaded.prepare(request({"role": "user", "content": text}))
    assert prompt.token_ids == theirs(prompt.text, add_special_tokens=False).input_ids


def _both(transformers, kind, factory, known={}):  # noqa: B006 - a cache
    if kind not in known:
        folder = factory.mktemp("model")
        is_llama_3 = ALL[kind].token_to_id(LLAMA_3[0]) is not None
        name = LUNARIS if is_llama_3 else SENTENCEPIECE[1]
        fields = {"turn_markers": [], "allow_special_tokens": True}
        loaded = renderer(folder, ALL[kind], name, **fields)
        load = transformers.AutoTokenizer.from_pretrained
        (folder / "config.json").write_text('{"model_type": "mistral"}')
        known[kind] = loaded, load(str(folder))
    return known[kind]


def without(tokenizer, *tokens):
    """Return the tokenizer without some of its added tokens."""
    value = json.loads(tokenizer.to_str())
    value["added_tokens"] = [
        one for one in value["added_tokens"] if one["content"] not in tokens
    ]
    return Tokenizer.from_str(json.dumps(value))


LOST = {
    "the end": (without(OLD, "</s>"), SENTENCEPIECE[1], "</s>"),
    "the beginning": (without(OLD, "<s>"), SENTENCEPIECE[0], "<s>"),
    "a header": (byte_level(LLAMA_3[:3]), LUNARIS, "<|end_header_id|>"),
    "another model's": (byte_level(), SENTENCEPIECE[2], "</s>"),
    "normalized": (
        changed(OLD, {"</s>": {"normalized": True}}),
        SENTENCEPIECE[1],
        "</s>",
    ),
}


@pytest.mark.parametrize(("tokenizer", "name", "token"), LOST.values(), ids=LOST)
def test_a_special_token_that_is_not_one_token_is_an_error(
    tokenizer, name, token, tmp_path
):
    with pytest.raises(ConfigError, match=f"`{token.replace('|', '.')}`") as caught:
        renderer(tmp_path, tokenizer, name)
    assert caught.value.hint is not None
    assert "tokenizer.json" in caught.value.hint


def test_special_tokens_of_a_models_own_template_are_checked(tmp_path):
    settings = {
        "chat_template": "<|im_start|>{{ messages[0].content }}{{ eos_token }}",
        "eos_token": "</s>",
        "pad_token": "[PAD]",
        "added_tokens_decoder": {"9": {"content": "<|im_start|>", "special": True}},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text("{}")
    OLD.save(str(tmp_path / "tokenizer.json"))
    model = Model(name="m", source=str(tmp_path))
    with pytest.raises(ConfigError, match=r"<.im_start.>"):
        load_renderer(model, tmp_path)
    more = Tokenizer.from_str(OLD.to_str())
    more.add_special_tokens([AddedToken("<|im_start|>", normalized=False)])
    more.save(str(tmp_path / "tokenizer.json"))
    loaded = load_renderer(model, tmp_path)
    assert loaded.prepare(request(CONVERSATION[1])).token_ids


def test_a_damaged_tokenizer_is_an_error(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ConfigError, match="is not a tokenizer"):
        renderer(tmp_path, None, SENTENCEPIECE[0])


@pytest.fixture(scope="module")
def sentencepiece_file(tmp_path_factory):
    return _trained(tmp_path_factory.mktemp("spm"), model_type="bpe")


def _trained(folder: Path, **options: object) -> Path:
    """Return a small SentencePiece model like that of Llama 2."""
    spm = pytest.importorskip("sentencepiece")
    text = folder / "corpus.txt"
    text.write_text(f"{CORPUS[:20_000]}\n[INST] Hello, 0123456789 [/INST]\n")
    spm.SentencePieceTrainer.train(
        **{
            "input": str(text),
            "model_prefix": str(folder / "tokenizer"),
            "vocab_size": 1000,
            "byte_fallback": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "split_digits": True,
            "hard_vocab_limit": False,
            "minloglevel": 2,
        }
        | options
    )
    return folder / "tokenizer.model"


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_a_folder_with_only_a_sentencepiece_model_has_the_publishers_tokens(
    name, sentencepiece_file, tmp_path
):
    spm = pytest.importorskip("sentencepiece")
    model = spm.SentencePieceProcessor(model_file=str(sentencepiece_file))
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_file.read_bytes())
    prompt = renderer(tmp_path, None, name).prepare(request())
    expected = []
    for part in prompt.text.replace("</s>", "<s></s>").split("<s>")[1:]:
        end = part.startswith("</s>")
        expected.append(model.eos_id() if end else model.bos_id())
        expected += model.encode(part.removeprefix("</s>").removeprefix(" "))
    assert prompt.token_ids == [one for one in expected if one is not None]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_converted_sentencepiece_model_gives_the_same_tokens(
    sentencepiece_file, text
):
    from batchchat.jobs.prompts.sentencepiece_model import sentencepiece_tokenizer

    spm = pytest.importorskip("sentencepiece")
    model = spm.SentencePieceProcessor(model_file=str(sentencepiece_file))
    converted = sentencepiece_tokenizer(sentencepiece_file, {})
    assert converted is not None
    plain = text.replace("\0", "")
    assert converted.encode(plain).ids == model.encode(plain)


def test_a_sentencepiece_model_may_add_no_spaces(tmp_path):
    from batchchat.jobs.prompts.sentencepiece_model import sentencepiece_tokenizer

    file = _trained(tmp_path, model_type="bpe", add_dummy_prefix=False)
    converted = sentencepiece_tokenizer(file, {"legacy": False})
    assert converted is not None
    assert adds_space(converted, "<s>") is False
    assert converted.encode("Hello").tokens[0][0] == "H"


def test_a_model_may_ask_for_the_newer_form(sentencepiece_file):
    from batchchat.jobs.prompts.sentencepiece_model import sentencepiece_tokenizer

    older = sentencepiece_tokenizer(sentencepiece_file, {})
    newer = sentencepiece_tokenizer(sentencepiece_file, {"legacy": False})
    assert older is not None
    assert newer is not None
    assert (adds_space(older, "<s>"), adds_space(newer, "<s>")) == (True, False)
    assert older.encode("Hello").ids == newer.encode("Hello").ids


def test_a_sentencepiece_model_of_another_kind_is_rejected(tmp_path):
    _trained(tmp_path, model_type="unigram", normalization_rule_name="nmt_nfkc")
    with pytest.raises(ConfigError, match=r"tokenizer\.json") as caught:
        renderer(tmp_path, None, SENTENCEPIECE[0])
    assert caught.value.hint is not None


def test_another_file_named_tokenizer_model_is_left_to_the_engine(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    assert renderer(tmp_path, None, LUNARIS).encode is None
