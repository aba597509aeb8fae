"""How tools are rendered, and which requests with tools are rejected."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.prompts.renderer import PromptRenderer
from tests.support.input_lines import encoded, parse_valid
from tests.unit.prompts.test_chat_templates import DEFAULT, MODELS, conversations

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object"}},
}
ARGUMENTS = {"city": "Köln", "days": 2}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)},
}
CALLED = [
    {"role": "user", "content": "u"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    {"role": "user", "content": "v"},
]
PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def renderers(tmp_path_factory):
    return RendererRegistry(load_catalog(), tmp_path_factory.mktemp("models"))


def asked(messages, **body):
    return parse_valid(encoded({"messages": messages, **body}))


@pytest.mark.parametrize("model", [*MODELS, "demo"])
def test_the_prompt_contains_signatures_calls_and_results(renderers, model):
    prompt = renderers.get(model).render(asked(CALLED, tools=[TOOL]))
    assert prompt.count('"name": "weather", "description": null') == 1
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln", "days": 2}}'
    assert prompt.count(call) == 1
    assert prompt.count("<tool_response>\nrain\n</tool_response>") == 1


@pytest.mark.parametrize("model", [*MODELS, "demo"])
def test_the_prompt_contains_calls_without_tools(renderers, model):
    prompt = renderers.get(model).render(asked(CALLED))
    assert prompt.count("<tool_call>") == 1
    assert "<tools>" not in prompt


@pytest.mark.parametrize("model", MODELS)
@given(messages=conversations(), calls=st.sets(st.integers(0, 7)))
def test_a_prompt_with_tools_contains_each_text_once(renderers, model, messages, calls):
    for index in calls & {*range(len(messages))}:
        if messages[index]["role"] == "assistant":
            messages[index]["tool_calls"] = [CALL]
    prompt = renderers.get(model).render(asked(messages, tools=[TOOL]))
    assert all(prompt.count(message["content"].strip()) == 1 for message in messages)


def test_tools_do_not_replace_the_default_system_message(renderers):
    prompt = renderers.get("WizardLM-2-7B").render(asked(CALLED, tools=[TOOL]))
    assert prompt.startswith(f"<s>{DEFAULT}\n\nYou may call functions.")
    system = [{"role": "system", "content": "S"}, *CALLED]
    assert DEFAULT not in renderers.get("WizardLM-2-7B").render(
        asked(system, tools=[TOOL])
    )


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "7"])
def test_arguments_that_are_not_an_object_become_an_empty_object(renderers, arguments):
    call = CALL | {"function": {"name": "f", "arguments": arguments}}
    turns = [{"role": "assistant", "tool_calls": [call]}, CALLED[0]]
    assert '"arguments": {}}' in renderers.get("demo").render(asked(turns))


def test_a_template_without_tool_support_rejects_tools():
    renderer = PromptRenderer(ChatTemplate(PLAIN, {}), None, 512)
    user = CALLED[:1]
    with pytest.raises(RequestRefusedError, match="does not support tools"):
        renderer.render(asked(user, tools=[TOOL]))
    assert renderer.render(asked(user, tools=[TOOL], tool_choice="none")) == "u"
    with pytest.raises(RequestRefusedError, match="does not support `tool_calls`"):
        renderer.render(asked(CALLED))


def test_a_model_without_a_tool_parser_rejects_tools():
    source = "{{ tools }}{{ messages[0].tool_calls }}"
    renderer = PromptRenderer(
        ChatTemplate(source, {}), None, 512, parses_tool_calls=False
    )
    with pytest.raises(RequestRefusedError, match="tool_parser"):
        renderer.render(asked(CALLED, tools=[TOOL]))
    assert renderer.render(asked(CALLED, tools=[TOOL], tool_choice="none"))


READS_BUDGET = (
    "{{ thinking_budget }} {{ date_string }} {{ bos_token }}{{ messages[0].content }}"
)


def test_a_request_can_set_any_variable_that_the_template_reads():
    renderer = PromptRenderer(
        ChatTemplate(READS_BUDGET, {"bos_token": "<s>"}), None, 512
    )
    said = {"thinking_budget": 512, "date_string": "1 May"}
    request = asked(CALLED[:1], chat_template_kwargs=said)
    assert renderer.render(request) == "512 1 May <s>u"
    renderer.check(request)


@pytest.mark.parametrize("name", ["budget", "messages", "tools", "bos_token"])
def test_a_variable_that_the_template_does_not_read_is_named(name):
    renderer = PromptRenderer(ChatTemplate(READS_BUDGET, {"bos_token": "b"}), None, 512)
    request = asked(CALLED[:1], chat_template_kwargs={name: "x", "date_string": "y"})
    for reject in (renderer.render, renderer.check):
        with pytest.raises(RequestRefusedError) as raised:
            reject(request)
        assert raised.value.code == "unknown_parameter"
        assert f"does not read `{name}`" in raised.value.message
        assert "`date_string`, `thinking_budget`" in raised.value.message


def test_reasoning_switches_are_accepted_by_every_template():
    renderer = PromptRenderer(ChatTemplate("{{ messages[0].content }}", {}), None, 512)
    said = {"enable_thinking": False, "thinking": True}
    assert renderer.render(asked(CALLED[:1], chat_template_kwargs=said)) == "u"


def test_templates_receive_the_request_s_variables():
    source = "{{ reasoning_effort }} {{ enable_thinking }} {{ messages[0].content }}"
    renderer = PromptRenderer(ChatTemplate(source, {}), None, 512)
    assert renderer.render(asked(CALLED[:1], reasoning_effort="none")) == "none False u"
    said: dict[str, object] = {"reasoning_effort": "low"}
    said |= {"chat_template_kwargs": {"enable_thinking": False}}
    assert renderer.render(asked(CALLED[:1], **said)) == "low False u"
