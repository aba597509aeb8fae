"""The compiler of each answer's grammar: chosen per request, or by the catalog."""

import json
import math
from types import SimpleNamespace as Bag
from typing import Any

import pytest

from batchchat.jobs.errors import ConfigError, RequestRefusedError
from tests.integration.chat_batches import TOOLS, answer, choice

pytestmark = pytest.mark.engine

LARK = {"structured_outputs": {"grammar": 'start: "yes" | "no"'}}
UNICODE = {"structured_outputs": {"regex": r"\p{Lu}{3}"}, "max_tokens": 20}


def schema(**fields):
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def response_format(wanted):
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "r", "schema": wanted},
        },
        "max_tokens": 60,
    }


MULTIPLE = response_format(
    schema(a={"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100})
)
SHORT = response_format(schema(a={"type": "string", "maxLength": 5}))


@pytest.fixture
def ask(batches):
    """Return a function that runs bodies as one batch and returns their results."""
    return batches.run


def content(result):
    return choice(result)["message"]["content"]


def test_lark_grammars_are_followed(ask):
    results = ask(*(LARK | {"seed": seed} for seed in range(4)))
    assert {content(result) for result in results} <= {"yes", "no"}


def test_regular_expressions_may_have_unicode_classes(ask):
    (result,) = ask(UNICODE)
    assert len(content(result)) == 3
    assert content(result).isupper()


def test_keywords_beyond_xgrammar_are_enforced(ask):
    results = ask(*(MULTIPLE | {"seed": seed} for seed in range(16)))
    values = [json.loads(content(result))["a"] for result in results]
    assert all(value % 5 == 0 and 0 <= value <= 100 for value in values)
    assert len({*values}) > 1


def test_answers_do_not_depend_on_the_compilers_of_other_requests(ask):
    asked = [MULTIPLE, SHORT, LARK, UNICODE, SHORT | {"seed": 9}, {"max_tokens": 9}]
    together = [content(result) for result in ask(*asked)]
    reverse = [content(result) for result in ask(*reversed(asked))]
    alone = [content(result) for one in asked for result in ask(one)]
    assert together == reverse[::-1] == alone


def test_keyword_that_nothing_enforces_is_named(ask):
    wanted = schema(a={"type": "array", "items": {}, "uniqueItems": True})
    refused, neighbour = ask(response_format(wanted), {"max_tokens": 4})
    error = refused["response"]["body"]["error"]
    assert "`uniqueItems`" in error["message"]
    assert error["param"].endswith("response_format.json_schema.schema.properties.a")
    assert answer(neighbour)


def test_a_required_tool_may_need_the_other_compiler(ask):
    days = {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 9}
    function = TOOLS[0]["function"] | {"parameters": schema(days=days), "strict": True}
    tools = [{"type": "function", "function": function}]
    (result,) = ask({"tools": tools, "tool_choice": "required", "max_tokens": 200})
    calls = choice(result)["message"]["tool_calls"]
    assert calls
    for call in calls:
        value = json.loads(call["function"]["arguments"])["days"]
        assert math.remainder(value, 0.5) == 0


@pytest.fixture
def build():
    """Return what builds the grammar of a schema with a backend."""
    from vllm.sampling_params import StructuredOutputsParams

    from batchchat.workers.engine.vllm_grammars import GrammarBuilder

    def build(backend, wanted):
        builder = GrammarBuilder({"backend": backend})
        return builder.build(StructuredOutputsParams(json=wanted))

    return build


def test_catalog_selects_one_compiler_for_all_requests(build):
    plain = {"type": "integer"}
    assert build("auto", plain)[0] == build("xgrammar", plain)[0] == "json"
    assert build("guidance", plain)[0] == "guidance"
    assert build("auto", plain | {"multipleOf": 2})[0] == "guidance"


@pytest.mark.parametrize(
    ("backend", "kind", "keyword", "value"),
    [
        ("xgrammar", "integer", "multipleOf", 2),
        ("guidance", "object", "propertyNames", {}),
    ],
)
def test_selected_compiler_refuses_what_it_does_not_enforce(
    build, backend, kind, keyword, value
):
    with pytest.raises(RequestRefusedError, match=f"`{keyword}` .* by {backend}"):
        build(backend, {"type": kind, keyword: value})


def test_unknown_compiler_in_the_catalog_is_a_config_error(build):
    with pytest.raises(ConfigError, match="auto, xgrammar, guidance"):
        build("outlines", {})


def test_catalog_adds_to_the_default_config():
    from batchchat.jobs.catalog.catalog import Model
    from batchchat.workers.engine.vllm_startup import engine_arguments

    own = {"structured_outputs_config": {"backend": "guidance"}}
    model = Model(name="m", source="org/m", engine=own)
    renderer: Any = Bag(context_length=8)
    made = engine_arguments(model, "m", renderer, on_cpu=True)
    expected = {"backend": "guidance", "disable_any_whitespace": True}
    assert made["structured_outputs_config"] == expected
