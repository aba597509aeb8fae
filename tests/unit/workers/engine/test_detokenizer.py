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


def as_streamed(tokenizer, prompt, answer, *, hides_special):
    """Return the text as vLLM has it, which reads one token after the other."""
    stream = DecodeStream(prompt, hides_special)
    return "".join(stream.step(tokenizer, token) or "" for token in answer)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


@pytest.mark.parametrize("hides_special", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_an_answer_cut_anywhere_reads_as_it_would_have_been_streamed(
    tokenizer, text, hides_special
):
    prompt = tokenizer.encode("What do you say?").ids
    answer = tokenizer.encode(text).ids
    read = Detokenizer(tokenizer).decode

    for end in range(len(answer) + 1):
        cut = answer[:end]
        streamed = as_streamed(tokenizer, prompt, cut, hides_special=hides_special)
        assert read(prompt, cut, hides_special=hides_special) == streamed


@pytest.mark.parametrize("seed", range(5))
def test_noise_reads_as_it_would_have_been_streamed(seed):
    tokenizer = byte_level()
    source = random.Random(seed)
    read = Detokenizer(tokenizer).decode
    size = tokenizer.get_vocab_size()

    for _ in range(100):
        prompt = tokenizer.encode("Say anything.").ids
        answer = [source.randrange(size) for _ in range(source.randrange(1, 60))]
        assert read(prompt, answer, hides_special=True) == as_streamed(
            tokenizer, prompt, answer, hides_special=True
        )


def test_a_tokenizer_of_another_kind_is_left_to_vllm():
    assert Detokenizer.for_tokenizer(object()) is None
