"""A batch runs with the engine arguments that the catalog has now."""

import pytest
from msgspec.structs import replace

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.catalog.engine_arguments import (
    describe_changes,
    differing_fields,
    with_current_engine,
)

PLANNED = Model(
    name="mine",
    source="org/mine",
    chat_template="old",
    context_length=4096,
    engine={"dtype": "bfloat16", "max_model_len": 4096},
)


def current(**fields):
    entry = replace(PLANNED, **fields)
    return with_current_engine(PLANNED, Catalog({entry.name: entry}))


def test_only_the_engine_arguments_come_from_the_catalog():
    found = current(chat_template="new", engine={"max_model_len": 1024})
    assert found == replace(PLANNED, engine={"max_model_len": 1024})


def test_a_model_that_left_the_catalog_keeps_its_arguments():
    assert with_current_engine(PLANNED, Catalog({})) == PLANNED


def test_an_entry_with_another_source_is_another_model():
    assert current(source="org/other", engine={}) == PLANNED


def test_an_alias_finds_the_entry():
    entry = replace(PLANNED, name="new", aliases=["mine"], engine={"seed": 1})
    found = with_current_engine(PLANNED, Catalog({"new": entry}))
    assert found.engine == {"seed": 1}


@pytest.mark.parametrize(
    ("length", "engine", "expected"),
    [
        (1024, {}, {"max_model_len": 1024}),
        (1024, {"max_model_len": 512}, {"max_model_len": 512}),
        (4096, {}, {}),
        (None, {}, {}),
    ],
)
def test_another_context_length_becomes_the_limit_of_the_engine(
    length, engine, expected
):
    found = current(context_length=length, engine=engine)
    assert found.engine == expected
    assert found.context_length == PLANNED.context_length


def test_changes_are_described_with_their_effect():
    assert describe_changes(PLANNED, PLANNED) is None
    smaller = replace(PLANNED, engine={"max_model_len": 1024, "max_num_seqs": 8})
    assert describe_changes(PLANNED, smaller) == (
        "engine arguments have changed since the batch was planned:"
        " dtype bfloat16 -> unset, max_model_len 4096 -> 1024,"
        " max_num_seqs unset -> 8;"
        " dtype, max_model_len can affect answers; finished results are kept"
    )
    faster = replace(PLANNED, engine=PLANNED.engine | {"max_num_seqs": 8})
    assert "can affect" not in (describe_changes(PLANNED, faster) or "")


def test_engines_differ_in_fields_and_arguments():
    one = {"dtype": "bfloat16", "torch": "2", "arguments": {}}
    other = one | {"dtype": "float16", "arguments": {"max_model_len": 9}}
    assert differing_fields([one]) == {}
    assert differing_fields([one, other]) == {
        "dtype": ["bfloat16", "float16"],
        "max_model_len": ["unset", "9"],
    }


def test_the_command_line_overrides_the_arguments_of_every_planned_model():
    option = {"max_model_len": 64}
    for models in ({}, {"mine": replace(PLANNED, engine={"dtype": "float32"})}):
        catalog = Catalog(models).with_engine(option)
        engine = with_current_engine(PLANNED, catalog).engine
        kept = models["mine"].engine if models else PLANNED.engine
        assert engine == kept | option
