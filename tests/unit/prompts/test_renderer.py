"""Requests are rendered and tokenized, or rejected with a reason."""

import json

import pytest
from msgspec import structs

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.catalog.demo_model import demo_model
from batchchat.jobs.errors import ConfigError, RequestRefusedError
from batchchat.jobs.prompts.chat_template import ChatTemplate
from batchchat.jobs.prompts.loader import load_local_renderer, load_renderer
from batchchat.jobs.prompts.renderer import PromptRenderer
from tests.support.input_lines import encoded, parse_valid, with_body, with_message

LAST = ChatTemplate("{{ messages[-1].content }}", {})


def renderer(context_length=20, vocabulary=None):
    """Return one whose tokens are bytes."""
    encode = lambda text: list(text.encode())  # noqa: E731 - as short as it gets
    return PromptRenderer(LAST, encode, context_length, vocabulary)


def says(size):
    return parse_valid(with_message(content="x" * size))


def test_a_prompt_consists_of_text_and_tokens():
    assert renderer().prepare(parse_valid(with_message(content="hi"))) == (
        "hi",
        [104, 105],
    )


def test_a_prompt_that_leaves_no_room_for_an_answer_is_rejected():
    assert len(renderer().prepare(says(19)).token_ids) == 19
    with pytest.raises(RequestRefusedError, match="20 tokens") as raised:
        renderer().prepare(says(20))
    assert raised.value.code == "context_length_exceeded"


def test_an_unknown_context_length_is_not_enforced():
    assert len(renderer(context_length=None).prepare(says(5_000)).token_ids) == 5_000


@pytest.mark.parametrize(
    "body", [{"logit_bias": {"5": 1, "100": 1}}, {"stop_token_ids": [3, 100]}]
)
def test_tokens_outside_of_the_vocabulary_are_rejected(body):
    request = parse_valid(with_body(**body))
    assert renderer(vocabulary=101).prepare(request)
    with pytest.raises(RequestRefusedError, match="token 100") as raised:
        renderer(vocabulary=100).prepare(request)
    assert raised.value.param == f"{next(iter(body))}"


def test_check_rejects_what_prepare_rejects():
    for reject in (renderer().check, renderer().prepare):
        with pytest.raises(RequestRefusedError) as raised:
            reject(says(600))
        assert raised.value.code == "context_length_exceeded"
        assert raised.value.param == "messages"
    renderer().check(says(10))


def test_check_does_not_tokenize_short_prompts():
    def encode(_):
        raise AssertionError

    PromptRenderer(LAST, encode, 20).check(says(19))


def test_the_engine_completes_what_the_files_lack():
    bare = PromptRenderer(LAST, None, None)
    with pytest.raises(ConfigError, match="tokenizer"):
        bare.prepare(says(1))
    bare.complete_from_engine(5, lambda text: [0] * len(text))
    assert bare.prepare(says(4)).token_ids == [0] * 4
    assert bare.context_length == 5


@pytest.fixture
def folder(tmp_path):
    def write(**files):
        for name, value in files.items():
            file = tmp_path / f"{name}.json"
            file.write_text(value if isinstance(value, str) else json.dumps(value))
        return Model(name="m", source=str(tmp_path))

    return write


def rendered(model, tmp_path):
    return load_renderer(model, tmp_path).render(says(0))


def test_the_template_is_read_from_the_tokenizer_config(folder, tmp_path):
    tokens = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    settings = {"chat_template": "{{ bos_token }}{{ eos_token }}", **tokens}
    model = folder(tokenizer_config=settings, config={"max_position_embeddings": 64})
    assert rendered(model, tmp_path) == "<s></s>"
    assert load_renderer(model, tmp_path).context_length == 64


TOOLS = [{"type": "function", "function": {"name": "f"}}]
NAMED = [
    {"name": "tool_use", "template": "{# tools #}with{{ tools | length }}"},
    {"name": "default", "template": "without"},
    {"name": "rag", "template": "{% if"},
]


def rendered_with_tools(model, tmp_path):
    body = {"messages": [{"role": "user", "content": ""}], "tools": TOOLS}
    model = structs.replace(model, tool_parser="hermes")
    return load_renderer(model, tmp_path).render(parse_valid(encoded(body)))


def test_the_template_for_tools_is_used_if_a_request_has_tools(folder, tmp_path):
    model = folder(tokenizer_config={"chat_template": NAMED})
    assert rendered(model, tmp_path) == "without"
    assert rendered_with_tools(model, tmp_path) == "with1"


def test_templates_with_names_may_be_a_mapping(folder, tmp_path):
    named = {entry["name"]: entry["template"] for entry in NAMED}
    model = folder(tokenizer_config={"chat_template": named})
    assert rendered_with_tools(model, tmp_path) == "with1"


def test_additional_template_files_are_used_by_name(folder, tmp_path):
    model = folder(tokenizer_config={"chat_template": "ignored"})
    (tmp_path / "chat_template.jinja").write_text("without")
    (tmp_path / "additional_chat_templates").mkdir()
    named = tmp_path / "additional_chat_templates" / "tool_use.jinja"
    named.write_text(NAMED[0]["template"])
    assert rendered(model, tmp_path) == "without"
    assert rendered_with_tools(model, tmp_path) == "with1"


def test_a_template_file_overrides_the_named_templates(folder, tmp_path):
    model = folder(tokenizer_config={"chat_template": NAMED})
    (tmp_path / "chat_template.jinja").write_text("{{ tools | length }}")
    assert rendered_with_tools(model, tmp_path) == "1"


def test_a_model_with_named_templates_but_no_default_is_rejected(folder, tmp_path):
    model = folder(tokenizer_config={"chat_template": NAMED[:1]})
    with pytest.raises(ConfigError, match="no default chat template, only `tool_use`"):
        load_renderer(model, tmp_path)


def test_the_template_of_a_processor_is_used(folder, tmp_path):
    model = folder(
        chat_template={"chat_template": "of the processor"},
        tokenizer_config={"chat_template": "of the tokenizer"},
    )
    assert rendered(model, tmp_path) == "of the processor"
    (tmp_path / "chat_template.jinja").write_text("of a file")
    assert rendered(model, tmp_path) == "of a file"


def test_a_template_file_overrides_the_tokenizer_config(folder, tmp_path):
    (tmp_path / "chat_template.jinja").write_text("of a file")
    model = folder(tokenizer_config={"chat_template": "of the settings"})
    assert rendered(model, tmp_path) == "of a file"


def test_the_catalog_s_template_overrides_the_model_s(folder, tmp_path):
    source = folder(tokenizer_config={"chat_template": "x"}).source
    (tmp_path / "mine.jinja").write_text("{# #}of mine")
    for template in ("{# #}of mine", str(tmp_path / "mine.jinja")):
        model = Model(name="m", source=source, chat_template=template)
        found = Catalog({"m": model}).find("m")
        assert rendered(found, tmp_path) == "of mine"


def test_the_catalog_s_special_tokens_override_the_model_s(folder, tmp_path):
    settings = {"chat_template": "{{ bos_token }}{{ eos_token }}", "bos_token": "<b>"}
    source = folder(tokenizer_config=settings | {"eos_token": "<e>"}).source
    model = Model(name="m", source=source, special_tokens={"bos_token": "<s>"})
    assert rendered(model, tmp_path) == "<s><e>"


ALONE = Model(
    name="m",
    source="org/not-at-hand",
    chat_template="{{ bos_token }}{{ messages[0].content }}",
    special_tokens={"bos_token": "<s>"},
    context_length=20,
)


def test_a_catalog_entry_with_template_and_tokens_renders_without_files(tmp_path):
    renderer = load_local_renderer(ALONE, tmp_path)
    assert renderer.render(says(1)) == "<s>x"
    assert (renderer.encode, renderer.context_length) == (None, 20)
    renderer.check(says(600))


def test_a_model_with_files_tokenizes(tmp_path):
    model = structs.replace(ALONE, source=str(demo_model(tmp_path)))
    for load in (load_local_renderer, load_renderer):
        assert load(model, tmp_path).prepare(says(1)).token_ids[0] == 0
        assert load(model, tmp_path).vocabulary == 1024


WRONG = {
    "no template": {},
    "settings that are no JSON": {"tokenizer_config": "{"},
    "a configuration that is no JSON": {"config": "{"},
    "a template that is none": {"tokenizer_config": {"chat_template": "{% if"}},
    "a template that is no text": {
        "tokenizer_config": {"chat_template": {"default": 1}}
    },
}


@pytest.mark.parametrize("files", WRONG.values(), ids=WRONG)
def test_an_unusable_model_folder_is_a_config_error(folder, tmp_path, files):
    with pytest.raises(ConfigError):
        load_renderer(folder(**files), tmp_path)
