"""One line can occupy a planner only for a moment, whatever it contains."""

import json
import tracemalloc

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.completeness import missing_message
from batchchat.jobs.prompts.loader import load_local_renderer
from batchchat.jobs.prompts.renderer import PromptRenderer
from tests.support.input_lines import encoded, parse_valid

_LINE_BYTES = 8_000_000


def asks(text):
    return encoded({"messages": [{"role": "user", "content": text}]})


class Counting:
    """An encoder that counts the characters that it gets."""

    def __init__(self, encode):
        self.characters = 0
        self._encode = encode

    def __call__(self, text):
        self.characters += len(text)
        return self._encode(text)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    demo_model(models)
    return load_local_renderer(load_catalog().find("demo"), models)


@pytest.mark.parametrize("text", ["fox ", "a", " ", "é", "漢字", "<|end|>", "\\"])
def test_a_line_that_is_far_too_long_is_rejected_without_tokenizing_it(
    demo, monkeypatch, text
):
    encode = Counting(demo.encode)
    monkeypatch.setattr(demo, "encode", encode)
    raw = asks(text * (_LINE_BYTES // len(json.dumps(text)[1:-1])))
    request = parse_valid(raw)
    tracemalloc.start()
    with pytest.raises(RequestRefusedError) as raised:
        demo.check(request)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert raised.value.code == "context_length_exceeded"
    assert encode.characters < 100_000
    assert peak < 100_000_000


def test_a_template_that_repeats_a_text_cannot_make_a_prompt_of_unlimited_length():
    encode = Counting(lambda text: list(text.encode()))
    template = ChatTemplate("{{ messages[0].content * 9 }}", {})
    request = parse_valid(asks("x" * 1_000_000))
    with pytest.raises(RequestRefusedError) as raised:
        PromptRenderer(template, encode, 2_048).check(request)
    assert raised.value.code == "context_length_exceeded"
    assert encode.characters < 100_000


class Prompt(str):
    """A prompt that counts how often all its characters are copied."""

    copies = 0
    __slots__ = ()

    def split(self, *how):
        Prompt.copies += 1
        return super().split(*how)


def test_a_long_prompt_is_copied_once_however_many_messages_the_template_changes():
    turns = [{"role": "assistant", "content": f"<think>x</think>{n}"} for n in range(9)]
    assert missing_message(turns, Prompt("012345678")) is None
    assert Prompt.copies == 1
