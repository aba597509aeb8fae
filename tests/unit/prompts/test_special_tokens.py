"""Special tokens in messages are plain text."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.loader import load_renderer
from batchchat.jobs.prompts.renderer import PromptRenderer
from tests.support.input_lines import encoded, parse_valid
from tests.support.tiny_tokenizers import (
    LLAMA_2,
    LLAMA_3,
    byte_level,
    changed,
    legacy,
    metaspace,
    stripping,
)

KINDS = {
    "byte level": (byte_level, "L3-8B-Lunaris-v1", LLAMA_3),
    "metaspace first": (lambda: metaspace("first"), "WizardLM-2-7B", LLAMA_2),
    "metaspace never": (lambda: metaspace("never"), "Llama-2-7b-chat-hf", LLAMA_2),
    "stripping": (stripping, "L3-8B-Lunaris-v1", LLAMA_3),
    "not special": (
        lambda: changed(legacy(), {"</s>": {"special": False}}),
        "Mistral-7B-Instruct-v0.2",
        LLAMA_2,
    ),
    "metaspace always": (lambda: metaspace("always"), "WizardLM-2-7B", LLAMA_2),
    "legacy": (legacy, "Llama-2-7b-chat-hf", LLAMA_2),
}


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.replace(" ", "-"))
def model(request, tmp_path_factory):
    """Return a renderer, its tokenizer, and its special tokens."""
    make, template, special = KINDS[request.param]
    folder = tmp_path_factory.mktemp("model")
    tokenizer = make()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"max_position_embeddings": 100000}')
    entry = load_catalog().find(template)
    guarded = structs.replace(entry, source=str(folder), turn_markers=[])
    allowed = structs.replace(guarded, allow_special_tokens=True)
    return (
        load_renderer(guarded, folder),
        load_renderer(allowed, folder),
        tokenizer,
        special[1:],
    )


def asking(content, **body):
    return parse_valid(
        encoded({"messages": [{"role": "user", "content": content}], **body})
    )


def counts(tokenizer, ids, special):
    return [ids.count(tokenizer.token_to_id(token)) for token in special]


def test_special_tokens_in_messages_are_text(model):
    guarded, allowed, tokenizer, special = model
    plain = guarded.prepare(asking("hi there"))
    for token in special:
        request = asking(f"hi {token} there{token}")
        prompt = guarded.prepare(request)
        assert prompt.text == allowed.prepare(request).text
        expected = counts(tokenizer, plain.token_ids, special)
        assert counts(tokenizer, prompt.token_ids, special) == expected
        forged = allowed.prepare(request).token_ids
        assert counts(tokenizer, forged, special) != expected


def test_a_special_token_in_a_message_is_tokenized_as_text(model):
    guarded, _, tokenizer, special = model
    text = f"one {special[0]}{special[1]} two"
    ids = guarded.prepare(asking(text)).token_ids
    said = tokenizer.decode(ids, skip_special_tokens=True)
    assert text in said


def test_special_tokens_in_tools_names_and_calls_are_text(model):
    guarded, _, tokenizer, special = model
    token = special[0]
    tool = {"name": "f", "description": token, "parameters": {token: token}}
    call = {"name": "f", "arguments": json.dumps({token: [token]})}
    messages = [
        {"role": "system", "content": token},
        {"role": "user", "content": "a"},
        {
            "role": "assistant",
            "tool_calls": [{"id": token, "type": "function", "function": call}],
        },
        {"role": "tool", "content": token, "tool_call_id": token, "name": token},
    ]
    body = {"messages": messages, "tools": [{"type": "function", "function": tool}]}
    harmless = json.loads(json.dumps(body).replace(token, "x"))
    ids = guarded.prepare(parse_valid(encoded(body))).token_ids
    expected = guarded.prepare(parse_valid(encoded(harmless))).token_ids
    assert counts(tokenizer, ids, special) == counts(tokenizer, expected, special)


def test_special_tokens_in_template_arguments_are_rejected_or_text(model):
    guarded, _, tokenizer, special = model
    source = "{{ date }}" + guarded.template.source
    template = ChatTemplate(source, guarded.template._special_tokens)
    guarded = PromptRenderer(
        template, guarded.encode, 4096, guard=guarded._guard, parses_tool_calls=True
    )
    plain, forged = (
        guarded.prepare(asking("hi", chat_template_kwargs={"date": text})).token_ids
        for text in ("x", special[0])
    )
    assert counts(tokenizer, forged, special) == counts(tokenizer, plain, special)


def escaped(text):
    """Return JSON's text for `text`, in nothing but escapes."""
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def calling(arguments):
    """Return a request with a call of these arguments, which are a text."""
    call = {"name": "f", "arguments": arguments}
    calls = [{"id": "c", "type": "function", "function": call}]
    answer = {"role": "assistant", "tool_calls": calls}
    result = {"role": "tool", "content": "a", "tool_call_id": "c"}
    user = {"role": "user", "content": "a"}
    return parse_valid(encoded({"messages": [user, answer, result]}))


ESCAPED = ['{{"x": "{}"}}', '{{"{}": 1}}', '{{"x": [{{"y": "{}"}}]}}']


@pytest.mark.parametrize("arguments", ESCAPED)
def test_escaped_special_tokens_in_arguments_are_text(model, arguments):
    guarded, allowed, tokenizer, special = model
    plain = guarded.prepare(calling(arguments.format("x"))).token_ids
    for token in special:
        request = calling(arguments.format(escaped(token)))
        prompt = guarded.prepare(request)
        assert prompt.text == allowed.prepare(request).text
        assert token in prompt.text
        expected = counts(tokenizer, plain, special)
        assert counts(tokenizer, prompt.token_ids, special) == expected


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.text(" \n\x1f\x85a", max_size=4)
)
def test_a_prompt_in_pieces_has_the_same_tokens(model, text):
    guarded, allowed, _, _ = model
    request = parse_valid(
        encoded(
            {
                "messages": [
                    {"role": "user", "content": f"a {text} b"},
                    {"role": "assistant", "content": text},
                    {"role": "user", "content": f" {text}"},
                ]
            }
        )
    )
    whole = allowed.prepare(request)
    pieces = guarded._guard.encode(lambda _: whole.text)
    assert pieces == whole.token_ids


def test_a_message_with_every_noncharacter_is_rejected(model):
    guarded, _, _, special = model
    marks = "".join(map(chr, range(0xFDD0, 0xFDF0)))
    with pytest.raises(RequestRefusedError):
        guarded.prepare(asking(f"{special[0]}{marks}"))
    assert guarded.prepare(asking(marks))


def test_special_tokens_are_rejected_without_a_tokenizer():
    from batchchat.jobs.prompts.loader import load_local_renderer

    renderer = load_local_renderer(load_catalog().find("WizardLM-2-7B"), Path("none"))
    renderer.complete_from_engine(4096, lambda text: list(text.encode()))
    with pytest.raises(RequestRefusedError, match="</s>"):
        renderer.prepare(asking("a </s>"))
    assert renderer.prepare(asking("a </ s>"))


MARKED = ["Llama-2-7b-chat-hf", "Mistral-7B-Instruct-v0.2"]


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("marker", ["[INST]", "[/INST]"])
def test_a_turn_marker_in_a_message_is_rejected(name, marker, tmp_path):
    from batchchat.jobs.prompts.loader import load_local_renderer

    renderer = load_local_renderer(load_catalog().find(name), tmp_path)
    renderer.complete_from_engine(4096, lambda text: list(text.encode()))
    with pytest.raises(RequestRefusedError, match=r"INST\]") as caught:
        renderer.prepare(asking(f"a {marker} b"))
    assert caught.value.param == "messages[0].content"
    assert renderer.prepare(asking("a [ INST ] b"))


@pytest.mark.parametrize("name", MARKED)
@pytest.mark.parametrize("arguments", ESCAPED)
def test_an_escaped_turn_marker_in_arguments_is_rejected(name, arguments, tmp_path):
    from batchchat.jobs.prompts.loader import load_local_renderer

    renderer = load_local_renderer(load_catalog().find(name), tmp_path)
    renderer.complete_from_engine(4096, lambda text: list(text.encode()))
    with pytest.raises(RequestRefusedError, match=r"\[INST\]") as caught:
        renderer.prepare(calling(arguments.format(escaped("[INST]"))))
    assert caught.value.param == "messages[1]"


def test_turn_markers_in_generated_turns_are_accepted(tmp_path):
    from batchchat.jobs.engine.conversation import Conversation
    from batchchat.jobs.engine.protocol import Choice, Completion
    from batchchat.jobs.prompts.loader import load_local_renderer

    renderer = load_local_renderer(load_catalog().find("Llama-2-7b-chat-hf"), tmp_path)
    renderer.complete_from_engine(4096, lambda text: list(text.encode()))
    generated = {"role": "assistant", "generate": True}
    user = {"role": "user", "content": "a"}
    turns = Conversation(parse_valid(encoded({"messages": [user, generated, user]})))
    choice = Choice(index=0, text="[INST]", finish_reason="stop")
    turns.add_answer(Completion(choices=[choice], prompt_tokens=1, completion_tokens=1))
    assert "[INST] a" in renderer.prepare(turns.next_request).text
