"""Chat templates are rendered as Hugging Face renders them, or refuse."""

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


def test_a_template_that_raises_refuses_the_request():
    with pytest.raises(RequestRefusedError, match="user first") as raised:
        render(USER_FIRST, ("assistant", "no"))
    error = raised.value
    assert (error.code, error.param) == ("invalid_messages", "body.messages")
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
def test_a_template_that_fails_over_a_conversation_refuses_it(source):
    with pytest.raises(RequestRefusedError):
        render(source)


@pytest.mark.parametrize("source", ["{% if %}", "{{ ", "{% unknown %}", "{{ a | b }}"])
def test_what_is_no_template_is_a_wrong_setting(source):
    with pytest.raises(ConfigError, match="template"):
        ChatTemplate(source, {})


@pytest.mark.parametrize(
    ("source", "role"),
    [
        ("{{ messages[0].role }}", "system"),
        ("{# developer #}{{ messages[0].role }}", "developer"),
    ],
)
def test_a_developer_is_a_system_where_the_template_knows_none(source, role):
    assert render(source, ("developer", "x")) == role


def test_a_user_s_text_is_data_and_not_a_template():
    text = "{{ 7 * 7 }}{% raise %}</s><&>"
    assert render("{{ messages[0].content }}", ("user", text)) == text


def test_parts_are_one_text_and_names_are_given_where_there_are():
    turns = [Message("user", [TextPart("a", "text"), TextPart("b", "text")], name="n")]
    template = ChatTemplate("{{ messages[0].name }}:{{ messages[0].content }}", {})
    assert template.render(turns) == "n:a\nb"
    assert render("{{ 'name' in messages[0] }}") == "False"


def test_a_tool_s_turn_may_say_which_call_it_answers():
    turn = Message("tool", "42", tool_call_id="call_1")
    template = ChatTemplate("{{ messages[0].tool_call_id }}", {})
    assert template.render([turn]) == "call_1"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ {'a': 'é<'} | tojson }}", '{"a": "é<"}'),
        ("{{ [1] | tojson(indent=1) }}", "[\n 1\n]"),
        ("{{ tools }}|{{ documents }}", "None|None"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("{{ unk_token is defined }}", "False"),
    ],
)
def test_what_templates_of_the_hub_rely_on_is_there(source, expected):
    assert render(source) == expected


def test_a_template_that_goes_too_deep_refuses_the_conversation():
    source = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(messages) }}"
    with pytest.raises(RequestRefusedError, match="recursion"):
        render(source)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [("[" * 100_000, "too deeply"), ('{"a": "\\ud800"}', "surrogate")],
)
def test_arguments_that_no_template_can_be_given_are_refused(arguments, reason):
    call = ToolCall("c", "function", FunctionCall("f", arguments))
    turn = Message("assistant", tool_calls=[call])
    with pytest.raises(RequestRefusedError, match=reason) as raised:
        ChatTemplate("{{ messages[0].tool_calls }}", {}).render([turn])
    assert raised.value.code == "invalid_messages"
