"""The built-in templates produce the prompts that the models were trained on."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.cli.main import app
from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.prompts.registry import RendererRegistry
from tests.support.input_lines import encoded, parse_valid

VECTORS = json.loads(
    Path(__file__).with_name("data").joinpath("chat_vectors.json").read_text("utf-8")
)
"""Reference conversations with their exact prompts; each with its source."""

MODELS = sorted({vector["model"] for vector in VECTORS})
IN_PLACE = "Sao10K/L3-8B-Lunaris-v1"
HOISTING = sorted({*MODELS} - {IN_PLACE})
DEFAULT = (
    "A chat between a curious user and an artificial intelligence assistant. The"
    " assistant gives helpful, detailed, and polite answers to the user's questions."
)


@pytest.fixture(scope="module")
def renderers(tmp_path_factory):
    return RendererRegistry(load_catalog(), tmp_path_factory.mktemp("models"))


@pytest.fixture
def render(renderers):
    def render(model, *turns):
        messages = [{"role": role, "content": content} for role, content in turns]
        return renderers.get(model).render(parse_valid(encoded({"messages": messages})))

    return render


@pytest.mark.parametrize("model", MODELS)
def test_render_prints_every_reference_prompt(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BATCHCHAT_STORAGE", tmp_path.as_uri())
    vectors = [vector for vector in VECTORS if vector["model"] == model]
    file = tmp_path / "vectors.jsonl"
    lines = [encoded({"messages": vector["messages"]}) for vector in vectors]
    file.write_bytes(b"\n".join(lines))
    assert not app(["render", str(file), "-m", model, "--json"], standalone_mode=False)
    rendered = capsys.readouterr().out.splitlines()
    prompts = [json.loads(line)["prompt"] for line in rendered]
    assert prompts == [vector["expected"] for vector in vectors]


@pytest.mark.slow
def test_rendering_is_offline(tmp_path):
    file = tmp_path / "one.jsonl"
    file.write_bytes(encoded({"messages": VECTORS[0]["messages"]}))
    arguments = ["render", str(file), "--model", "WizardLM-2-7B", "--json"]
    with socket.create_server(("127.0.0.1", 0)) as hub:
        hub.setblocking(False)
        place = f"http://127.0.0.1:{hub.getsockname()[1]}"
        environment = {"HF_ENDPOINT": place, "HF_HUB_OFFLINE": "0"}
        environment |= {"HF_HOME": str(tmp_path), "BATCHCHAT_STORAGE": str(tmp_path)}
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from batchchat.cli.main import main; main()",
                *arguments,
            ],
            env=os.environ | environment,
            capture_output=True,
            check=True,
            timeout=30,
        )
        with pytest.raises(BlockingIOError):
            hub.accept()
    assert (done.stderr, json.loads(done.stdout)["prompt_tokens"]) == (b"", None)


texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ue000\ue001")
)
speakers = st.sampled_from(["user", "assistant", "tool"])


@st.composite
def conversations(draw):
    """Draw one by the pages' rule: (user,assistant,tool)*,user, one system anywhere.

    Each text is unlike all others, and may be anything else.
    """
    roles = [*draw(st.lists(speakers, max_size=7)), "user"]
    if draw(st.booleans()):
        roles.insert(draw(st.integers(0, len(roles))), "system")
    said = [
        f"{draw(texts)}\ue000{index}\ue001{draw(texts)}" for index in range(len(roles))
    ]
    messages = [
        {"role": role, "content": text} for role, text in zip(roles, said, strict=True)
    ]
    for message in messages:
        if message["role"] == "tool":
            message["tool_call_id"] = "call_1"
    return messages


@pytest.mark.parametrize("model", MODELS)
@given(conversations())
def test_every_valid_conversation_is_rendered_with_each_text_once(
    renderers, model, messages
):
    prompt = renderers.get(model).render(parse_valid(encoded({"messages": messages})))
    assert all(prompt.count(message["content"].strip()) == 1 for message in messages)


@pytest.mark.parametrize("model", MODELS)
@given(conversations())
def test_turns_keep_their_order(renderers, model, messages):
    prompt = renderers.get(model).render(parse_valid(encoded({"messages": messages})))
    turns = [message for message in messages if message["role"] != "system"]
    places = [prompt.index(message["content"].strip()) for message in turns]
    assert places == sorted(places)


@pytest.mark.parametrize("model", HOISTING)
def test_system_messages_are_joined_at_the_start(render, model):
    spread = (("user", "u"), ("system", "S1"), ("assistant", "a"), ("system", "S2"))
    joined = (("system", "S1\n\nS2"), ("user", "u"), ("assistant", "a"), ("user", "v"))
    assert render(model, *spread, ("user", "v")) == render(model, *joined)


@pytest.mark.parametrize("model", HOISTING)
def test_tool_messages_are_user_turns_and_adjacent_messages_are_merged(render, model):
    turns = (("user", "u"), ("assistant", "a"), ("assistant", "b"), ("tool", "t"))
    merged = (("user", "u"), ("assistant", "a\n\nb"), ("user", "t\n\nv"))
    assert render(model, *turns, ("user", "v")) == render(model, *merged)


def test_llama_3_has_a_block_for_each_message(render):
    prompt = render(IN_PLACE, ("user", "u"), ("system", "S"), ("tool", " t "))
    assert prompt == (
        "<|begin_of_text|>"
        "<|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"
        "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
        "<|start_header_id|>tool<|end_header_id|>\n\nt<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


ASSISTANT_FIRST = {
    "Llama-2-7b-chat-hf": "<s>[INST]  [/INST] a </s><s>[INST] u [/INST]",
    # the text that mistral-common 1.13.1 gives, as for all conversations it takes
    "Mistral-7B-Instruct-v0.2": "<s> [INST]  [/INST] a</s> [INST] u [/INST]",
    "WizardLM-2-7B": f"<s>{DEFAULT} ASSISTANT: a</s>USER: u ASSISTANT:",
}


@pytest.mark.parametrize(("model", "prompt"), ASSISTANT_FIRST.items())
def test_the_first_message_may_be_the_assistant_s(render, model, prompt):
    assert render(model, ("assistant", "a"), ("user", "u")) == prompt


SYSTEM_ALONE = {
    "Llama-2-7b-chat-hf": "<s>[INST] <<SYS>>\nS\n<</SYS>> [/INST]",
    "Mistral-7B-Instruct-v0.2": "<s> [INST] S\n\n [/INST]",
    "WizardLM-2-7B": "<s>S ASSISTANT:",
}


@pytest.mark.parametrize(("model", "prompt"), SYSTEM_ALONE.items())
def test_a_conversation_may_consist_of_a_system_message(render, model, prompt):
    assert render(model, ("system", "S")) == prompt


TRIMMED = {
    "Llama-2-7b-chat-hf": "<s>[INST] <<SYS>>\n S \n<</SYS>>\n\n u [/INST] a </s>",
    "Mistral-7B-Instruct-v0.2": "<s> [INST]  S \n\n u  [/INST]  a </s>",
    "WizardLM-2-7B": "<s> S  USER:  u  ASSISTANT:  a </s>",
}


@pytest.mark.parametrize(("model", "prompt"), TRIMMED.items())
def test_whitespace_is_trimmed_as_in_the_official_code(render, model, prompt):
    turns = (("system", " S "), ("user", " u "), ("assistant", " a "))
    assert render(model, *turns) == prompt


def test_all_five_models_treat_developers_as_systems(render):
    for model in MODELS:
        turns = [(role, "S") for role in ("system", "developer")]
        one, other = (render(model, turn, ("user", "u")) for turn in turns)
        assert one == other
