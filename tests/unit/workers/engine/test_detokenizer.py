import random

import pytest
from tokenizers.decoders import DecodeStream

from batchchat.workers.engine.detokenizer import Detokenizer
from tests.support.tiny_tokenizers import byte_level, legacy, metaspace

TEXTS = (
    "Hello there, world.",
    " 你好 und naïve façade 🙂🙃",
    "a\n\n  b\t'quoted' <s> ",
)
KINDS = {
    "byte-level": byte_level,
    "legacy": legacy,
    "metaspace-always": lambda: metaspace("always"),
    "metaspace-first": lambda: metaspace("first"),
}


def as_streamed(tokenizer, prompt, answer, *, skip_special_tokens):
    """Return the text as vLLM decodes it, one token at a time."""
    stream = DecodeStream(prompt, skip_special_tokens)
    return "".join(stream.step(tokenizer, token) or "" for token in answer)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_text_truncated_anywhere_equals_streamed_text(tokenizer, text, skip):
    prompt = tokenizer.encode("What do you say?").ids
    answer = tokenizer.encode(text).ids
    decode = Detokenizer(tokenizer).decode

    for end in range(len(answer) + 1):
        cut = answer[:end]
        streamed = as_streamed(tokenizer, prompt, cut, skip_special_tokens=skip)
        assert decode(prompt, cut, skip_special_tokens=skip) == streamed


@pytest.mark.parametrize("seed", range(5))
def test_random_tokens_decode_as_streamed_text(seed):
    tokenizer = byte_level()
    source = random.Random(seed)
    decode = Detokenizer(tokenizer).decode
    size = tokenizer.get_vocab_size()

    for _ in range(100):
        prompt = tokenizer.encode("Say anything.").ids
        answer = [source.randrange(size) for _ in range(source.randrange(1, 60))]
        assert decode(prompt, answer, skip_special_tokens=True) == as_streamed(
            tokenizer, prompt, answer, skip_special_tokens=True
        )


def test_other_tokenizer_types_are_unsupported():
    assert Detokenizer.for_tokenizer(object()) is None
