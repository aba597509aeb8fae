"""Chat templates render as in Hugging Face, or reject the conversation."""

import time as time_module

import pytest

from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.requests.schema import Message, TextPart
from batchchat.jobs.requests.schema_types import FunctionCall, ToolCall

CHAT = """{{ bos_token }}
{%- for message in messages %}
    {%- if loop.index0 > 2 %}{% break %}{% endif %}
    [{{ message.role }}] {{ message['content'] | trim }}
{% endfor %}
{% if add_generation_prompt %}[assistant]{% endif %}"""
USER_FIRST = """{% if messages[0].role != 'user' %}
{{ raise_exception('user first') }}{% endif %}"""


def render(source, *messages, **tokens):
    turns = [Message(*turn) for turn in messages or [("user", "hi")]]
    return ChatTemplate(source, tokens).render(turns)


def test_a_conversation_is_rendered_up_to_the_answer():
    prompt = render(CHAT, ("system", " be kind "), ("user", "hi"), bos_token="<s>")
    assert prompt == "<s>    [system] be kind\n    [user] hi\n[assistant]"


def test_a_template_can_reject_a_request():
    with pytest.raises(RequestRefusedError, match="user first") as raised:
        render(USER_FIRST, ("assistant", "no"))
    error = raised.value
    assert (error.code, error.param) == ("invalid_value", "messages")
    assert error.status_code == 400


FAILING = {
    "undefined": "{{ messages[0].nothing.more }}",
    "out of range": "{{ messages[7].content }}",
    "wrong type": "{{ messages[0].content + 1 }}",
    "wrong value": "{{ messages[0].content.index('zz') }}",
    "divided by zero": "{{ 1 / (messages | length - 1) }}",
    "no such key": "{{ '{x}'.format() }}",
    "too long a range": "{{ range(10 ** 9) }}",
    "unsafe": "{{ messages.__class__.__mro__ }}",
    "altering": "{{ messages.append(1) }}",
}


@pytest.mark.parametrize("source", FAILING.values(), ids=FAILING)
def test_an_error_in_a_template_rejects_the_request(source):
    with pytest.raises(RequestRefusedError):
        render(source)


@pytest.mark.parametrize("source", ["{% if %}", "{{ ", "{% unknown %}", "{{ a | b }}"])
def test_an_invalid_template_is_a_config_error(source):
    with pytest.raises(ConfigError, match="template"):
        ChatTemplate(source, {})


@pytest.mark.parametrize(
    ("source", "role"),
    [
        ("{{ messages[0].role }}", "system"),
        ("{# developer #}{{ messages[0].role }}", "developer"),
    ],
)
def test_a_developer_becomes_a_system_if_the_template_has_no_developers(source, role):
    assert render(source, ("developer", "x")) == role


def test_message_text_is_not_evaluated_as_a_template():
    text = "{{ 7 * 7 }}{% raise %}</s><&>"
    assert render("{{ messages[0].content }}", ("user", text)) == text


def test_templates_receive_joined_parts_and_names():
    turns = [Message("user", [TextPart("a", "text"), TextPart("b", "text")], name="n")]
    template = ChatTemplate("{{ messages[0].name }}:{{ messages[0].content }}", {})
    assert template.render(turns) == "n:a\nb"
    assert render("{{ 'name' in messages[0] }}") == "False"


def test_templates_receive_the_tool_call_id():
    turn = Message("tool", "42", tool_call_id="call_1")
    template = ChatTemplate("{{ messages[0].tool_call_id }}", {})
    assert template.render([turn]) == "call_1"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ {'a': 'é<'} | tojson }}", '{"a": "é<"}'),
        ("{{ [1] | tojson(indent=1) }}", "[\n 1\n]"),
        ("{{ {'a': 'é'} | tojson(ensure_ascii=True) }}", '{"a": "\\u00e9"}'),
        ("{{ {'b': 1, 'a': 'é'} | tojson(sort_keys=True) }}", '{"a": "é", "b": 1}'),
        ("{{ [1, {'a': 1}] | tojson(separators=(',', ':')) }}", '[1,{"a":1}]'),
        ("{{ [1] | tojson(True, none, (',', ':'), true) }}", "[1]"),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}!", "hi!"),
        (
            "{% generation %}{% set x = 2 %}{% endgeneration %}{{ x is defined }}",
            "False",
        ),
        ("{{ tools }}|{{ documents }}", "None|None"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("{{ unk_token is defined }}", "False"),
    ],
)
def test_functions_of_hugging_face_templates_are_available(source, expected):
    assert render(source) == expected


NOON = 1_782_907_200  # 2026-07-01 12:00 UTC


def test_templates_read_the_given_time_in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time_module.tzset()
    try:
        template = ChatTemplate("{{ strftime_now('%F %T%Z') }}", {})
        turns = [Message("user", "hi")]
        assert template.render(turns, time=NOON) == "2026-07-01 12:00:00"
        assert template.render(turns, time=NOON + 86_400) == "2026-07-02 12:00:00"
    finally:
        monkeypatch.undo()
        time_module.tzset()


def test_a_request_can_set_the_time_that_templates_read():
    template = ChatTemplate("{{ strftime_now('%d %b %Y') }}", {})
    turns = [Message("user", "hi")]
    prompt = template.render(turns, time=NOON, strftime_now="2024-07-26")
    assert prompt == "26 Jul 2024"
    for wrong in ("today", 7, True):
        with pytest.raises(RequestRefusedError, match="ISO 8601"):
            template.render(turns, strftime_now=wrong)


def test_a_recursion_error_in_a_template_rejects_the_request():
    source = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(messages) }}"
    with pytest.raises(RequestRefusedError, match="recursion"):
        render(source)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [("[" * 100_000, "too deeply"), ('{"a": "\\ud800"}', "surrogate")],
)
def test_arguments_that_no_template_can_render_are_rejected(arguments, reason):
    call = ToolCall("c", "function", FunctionCall("f", arguments))
    turn = Message("assistant", tool_calls=[call])
    with pytest.raises(RequestRefusedError, match=reason) as raised:
        ChatTemplate("{{ messages[0].tool_calls }}", {}).render([turn])
    assert raised.value.code == "invalid_value"


def test_namespace_is_no_variable_that_a_request_can_set():
    source = (
        "{% set ns = namespace(text='') %}{% for message in messages %}"
        "{% set ns.text = ns.text ~ message.content %}{% endfor %}"
        "{% if shout is not defined %}{% set shout = false %}{% endif %}"
        "{{ ns.text | upper if shout else ns.text }}"
    )
    assert ChatTemplate(source, {}).variables == {"shout"}
