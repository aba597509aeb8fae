"""A template that leaves out a message rejects the request."""

import json

import pytest

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.completeness import missing_message
from batchchat.jobs.prompts.loader import load_renderer
from tests.support.input_lines import encoded, parse_valid

LLAMA_2 = """{% if messages[0]['role'] == 'system' %}<<SYS>>{{ messages[0]['content'] }}
{% set messages = messages[1:] %}{% endif %}{% for message in messages %}
{% if message['role'] == 'user' %}[INST] {{ message['content'] | trim }} [/INST]
{%- elif message['role'] == 'assistant' %} {{ message['content'] }}{% endif %}
{% endfor %}"""
"""Like Llama 2's own: it ignores a later system message, and results of tools."""

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": " What now? "}
ANSWER = {"role": "assistant", "content": "This."}


@pytest.fixture
def render(tmp_path):
    settings = {"chat_template": LLAMA_2}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    renderer = load_renderer(Model(name="m", source=str(tmp_path)), tmp_path)
    return lambda *turns: renderer.render(parse_valid(encoded({"messages": turns})))


@pytest.mark.parametrize(
    ("turns", "index"),
    [
        ([USER, SYSTEM, USER], 1),
        ([USER, ANSWER, {"role": "tool", "content": "42", "tool_call_id": "c"}], 2),
    ],
)
def test_a_message_that_the_template_leaves_out_rejects_the_request(
    render, turns, index
):
    role = turns[index]["role"]
    with pytest.raises(RequestRefusedError, match=f"role `{role}`") as raised:
        render(*turns)
    assert raised.value.param == f"messages[{index}]"
    assert raised.value.code == "invalid_value"


def test_a_conversation_that_the_template_renders_as_a_whole_is_accepted(render):
    assert "What now?" in render(USER, ANSWER, USER)
    assert "Be brief." in render(SYSTEM, USER)


@pytest.mark.parametrize(
    ("role", "content", "prompt"),
    [
        ("user", " a\n", "<a>"),
        ("user", "a\n\nb", "<a b>"),
        ("user", "", ""),
        ("assistant", "<think>x</think>\n\na", "<a>"),
        ("assistant", "b <think>x</think>\n\na", "<b a>"),
        ("tool", 'a "b"', 'x "a \\"b\\""'),
        ("tool", "é\n", '"\\u00e9"'),
        ("tool", '{"a":  1}', '[{"a": 1}]'),
    ],
)
def test_trimmed_and_quoted_texts_and_dropped_reasoning_are_complete(
    role, content, prompt
):
    assert missing_message([{"role": role, "content": content}], prompt) is None


@pytest.mark.parametrize("role", ["user", "system", "tool", "developer"])
def test_only_answers_may_lose_reasoning(role):
    turn = {"role": role, "content": "<think>x</think>a"}
    assert missing_message([turn], "<a>") == 0
