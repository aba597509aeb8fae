"""The catalog finds models and reports its own errors."""

from datetime import date
from decimal import Decimal

import pytest
from msgspec import structs

from batchchat.jobs.catalog.catalog import Catalog, Model, load_catalog
from batchchat.jobs.catalog.model_object import model_objects
from batchchat.jobs.catalog.template_source import template_text
from batchchat.jobs.catalog.usage import Price, Usage
from batchchat.jobs.engine.sampling import sampling_for
from batchchat.jobs.errors import ConfigError, ModelNotFoundError
from tests.support.input_lines import parse_valid, with_body

MINE = """
[models.mine]
source = "org/mine"
context_length = 4096
stop_token_ids = [128001, 128009]
engine = { dtype = "bfloat16" }
price = { input = 0.59, output = "0.79", date = "2026-11-01" }
"""


@pytest.fixture
def config(tmp_path):
    def write(text):
        file = tmp_path / "batchchat.toml"
        file.write_text(text)
        return file

    return write


def test_the_demo_model_is_in_the_catalog():
    assert load_catalog().find("demo").source == "demo"


USD = {
    "demo": ("0.05", "0.10"),
    "WizardLM-2-7B": ("0.39", "0.39"),
    "wizardlm-2-8x22b": ("0.62", "0.62"),
    "Llama-2-7b-chat-hf": ("0.13", "0.13"),
    "Mistral-7B-Instruct-v0.2": ("0.07", "0.07"),
    "L3-8B-Lunaris-v1": ("0.03", "0.06"),
}
BUILT_IN = list(USD)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_prices_are_exact_with_date_and_source(name):
    price = load_catalog().find(name).price
    assert price is not None
    assert (price.input, price.output) == tuple(map(Decimal, USD[name]))
    assert date.fromisoformat(price.date) <= date(2026, 11, 21)
    assert price.source
    million = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert price.cost(million) == price.input + price.output


LENGTHS = {
    "microsoft/WizardLM-2-7B": 32_768,
    "microsoft/wizardlm-2-8x22b": 65_536,
    "meta-llama/Llama-2-7b-chat-hf": 4_096,
    "mistralai/Mistral-7B-Instruct-v0.2": 32_768,
    "Sao10K/L3-8B-Lunaris-v1": 8_192,
}


@pytest.mark.parametrize("alias", LENGTHS)
def test_full_names_of_providers_are_aliases(alias):
    catalog = load_catalog()
    same = catalog.find(alias.partition("/")[2])
    assert catalog.find(alias) == same
    assert catalog.names(alias) == catalog.names(same.name) >= {alias, same.name}
    assert same.context_length == LENGTHS[alias]
    assert same.renders_without_files


STOPS = {
    "WizardLM-2-7B": (("USER:", "ASSISTANT:"), ()),
    "wizardlm-2-8x22b": (("USER:", "ASSISTANT:"), ()),
    "Llama-2-7b-chat-hf": ((), ()),
    "Mistral-7B-Instruct-v0.2": ((), ()),
    "L3-8B-Lunaris-v1": ((), (128001, 128009)),
}


@pytest.mark.parametrize("name", STOPS)
def test_stop_tokens_of_the_catalog_reach_the_sampling_parameters(name):
    model = load_catalog().find(name)
    sampling = sampling_for(parse_valid(with_body()), model, seed=0, available_tokens=9)
    assert (sampling.stop, sampling.stop_token_ids) == STOPS[name]


def test_a_found_model_contains_its_template():
    template = load_catalog().find("Llama-2-7b-chat-hf").chat_template
    assert template == template_text("llama-2")


def test_names_override_aliases_and_later_aliases_override_earlier(config):
    text = "\n".join(
        f'[models.{name}]\nsource = "org/{name}"\naliases = ["a", "demo", "org/x"]'
        for name in ("a", "b")
    )
    catalog = load_catalog(config(text))
    sources = [catalog.find(name).source for name in ("a", "demo", "org/x")]
    assert sources == ["org/a", "demo", "org/b"]


def test_an_unknown_template_name_is_reported_when_the_model_is_used(config):
    entry = '[models.x]\nsource = "org/x"\nchat_template = "llama-22"'
    catalog = load_catalog(config(entry))
    with pytest.raises(ConfigError, match="llama-22") as raised:
        catalog.find("x")
    assert "`llama-2`" in str(raised.value.hint)


def test_a_user_catalog_adds_models(config):
    catalog = load_catalog(config(MINE))
    mine = catalog.find("mine")
    assert [model.name for model in catalog] == [*BUILT_IN, "mine"]
    assert (mine.source, mine.stop_token_ids) == ("org/mine", [128001, 128009])
    assert mine.price == Price(Decimal("0.59"), Decimal("0.79"), "2026-11-01")


@pytest.mark.parametrize(
    "name", ["Llama-2-7b-chat-hf", '"meta-llama/Llama-2-7b-chat-hf"']
)
def test_a_user_catalog_overrides_built_in_models_field_by_field(config, name):
    entry = f'[models.{name}]\nsource = "/data/llama2"\nstop = ["END"]'
    catalog = load_catalog(config(entry))
    built_in = load_catalog().find("Llama-2-7b-chat-hf")
    expected = structs.replace(built_in, source="/data/llama2", stop=["END"])
    assert catalog.find("Llama-2-7b-chat-hf") == expected
    assert catalog.find("meta-llama/Llama-2-7b-chat-hf") == expected
    assert [model.name for model in catalog] == BUILT_IN


def test_a_user_catalog_can_remove_a_field_of_a_built_in_model(config):
    entry = '[models.Llama-2-7b-chat-hf]\nchat_template = ""\nturn_markers = []'
    found = load_catalog(config(entry)).find("Llama-2-7b-chat-hf")
    assert not found.chat_template
    assert (found.turn_markers, found.renders_without_files) == ([], False)


def test_the_names_of_a_model_are_its_own_and_its_aliases(config):
    text = '[models.a]\nsource = "org/a"\naliases = ["b", "c", "demo"]\n'
    catalog = load_catalog(config(f'{text}[models.b]\nsource = "org/b"'))
    assert catalog.names("a") == catalog.names("c") == {"a", "c"}
    assert catalog.names("b") == {"b"}
    assert catalog.names("org/unknown") == {"org/unknown"}


def test_every_name_is_an_object_of_the_list():
    listed = {one["id"]: one for one in model_objects(load_catalog())}
    alias = listed["microsoft/WizardLM-2-7B"]
    assert alias == listed["WizardLM-2-7B"] | {"id": "microsoft/WizardLM-2-7B"}
    assert alias["root"] == "WizardLM-2-7B"
    assert {*listed} == {*BUILT_IN, *LENGTHS, "microsoft/WizardLM-2-8x22B"}


def test_a_model_has_the_name_of_its_entry(config):
    catalog = load_catalog(config('[models.a]\nsource = "org/a"\nname = "b"'))
    assert catalog.find("a").name == "a"


def test_other_tables_in_the_file_are_ignored(config):
    assert load_catalog(config("port = 8000\n" + MINE)).find("mine")


WRONG = {
    "not TOML": "models = [",
    "models a number": "models = 3",
    "models a list": "models = [1]",
    "an entry a number": "[models]\nx = 3",
    "no source": "[models.x]",
    "a source of another type": "[models.x]\nsource = 3",
    "a token of no such name": '[models.x]\nsource = "a"\nspecial_tokens.bos = "<s>"',
    "an alias alone": '[models.x]\nsource = "a"\naliases = "y"',
    "a length of another type": '[models.x]\nsource = "a"\ncontext_length = "8k"',
}
PRICES = {
    "incomplete": 'input = "1"',
    "no number": 'input = "a", output = "1", date = "d"',
    "NaN": 'input = "NaN", output = "1", date = "d"',
    "nan of TOML": 'input = nan, output = "1", date = "d"',
    "negative": 'input = "-1", output = "1", date = "d"',
}
WRONG |= {
    f"a price {kind}": f'[models.x]\nsource = "a"\nprice = {{ {text} }}'
    for kind, text in PRICES.items()
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_the_error_for_an_invalid_catalog_names_the_file(config, text):
    with pytest.raises(ConfigError, match=r"batchchat\.toml") as raised:
        load_catalog(config(text))
    assert raised.value.hint


def test_the_error_for_an_unreadable_catalog_names_the_file(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("missing.toml", "binary.toml", "."):
        with pytest.raises(ConfigError, match="BATCHCHAT_CONFIG"):
            load_catalog(tmp_path / name)


def test_a_hub_id_is_a_model():
    assert Catalog({}).find("org/name") == Model(name="org/name", source="org/name")


def test_a_folder_with_a_configuration_is_a_model(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert Catalog({}).find("model").source == str(tmp_path / "model")
    assert Catalog({}).find("./model").name == "./model"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "none",
        "a/b/c",
        "/a",
        "a/",
        "./a",
        "~a/b",
        "~no-such-user",
        "a\0b",
        "x" * 5_000,
    ],
)
def test_an_unknown_name_is_an_error(name):
    with pytest.raises(ModelNotFoundError, match="unknown model") as raised:
        load_catalog().find(name)
    assert "`demo`" in str(raised.value.hint)


def test_engine_cost_is_gpus_times_hours_times_price():
    model = Model(
        name="m",
        source="s",
        engine={"tensor_parallel_size": 4},
        gpu_hour=Decimal("2.50"),
    )
    assert model.engine_cost(1800) == Decimal(5)
    assert Model(name="m", source="s").engine_cost(1800) is None


def test_engine_arguments_of_the_command_line_override_those_of_every_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    entry = Model(name="mine", source="org/mine", aliases=["me"], engine={"a": 1})
    catalog = Catalog({"mine": entry}).with_engine({"a": 2, "b": 3})
    for name in ("mine", "me"):
        assert catalog.find(name).engine == {"a": 2, "b": 3}
        assert catalog.restricted().find(name).engine == {"a": 2, "b": 3}
    for name in ("org/other", str(tmp_path)):
        assert catalog.find(name).engine == {"a": 2, "b": 3}
    assert catalog.with_engine({"b": 4}).find("mine").engine == {"a": 2, "b": 4}
    assert [model.engine for model in catalog] == [{"a": 2, "b": 3}]
    assert entry.engine == {"a": 1}
