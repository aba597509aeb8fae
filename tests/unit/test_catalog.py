"""The catalog finds models, and says what is wrong with itself."""

from decimal import Decimal

import pytest

from jobs.catalog import Catalog, Model, load_catalog
from jobs.errors import ConfigError, ModelNotFoundError
from jobs.usage import Price

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


def test_the_demo_is_built_in():
    assert load_catalog().find("demo").source == "demo"


def test_a_catalog_of_ones_own_adds_models(config):
    catalog = load_catalog(config(MINE))
    mine = catalog.find("mine")
    assert {model.name for model in catalog} == {"demo", "mine"}
    assert (mine.source, mine.stop_token_ids) == ("org/mine", [128001, 128009])
    assert mine.price == Price(Decimal("0.59"), Decimal("0.79"), "2026-11-01")


def test_a_model_of_ones_own_wins_over_a_built_in_one(config):
    catalog = load_catalog(config('[models.demo]\nsource = "org/other"'))
    assert catalog.find("demo") == Model(name="demo", source="org/other")


def test_a_model_is_called_what_its_entry_is_called(config):
    catalog = load_catalog(config('[models.a]\nsource = "org/a"\nname = "b"'))
    assert catalog.find("a").name == "a"


def test_settings_beside_the_models_do_no_harm(config):
    assert load_catalog(config("port = 8000\n" + MINE)).find("mine")


WRONG = {
    "not TOML": "models = [",
    "models a number": "models = 3",
    "models a list": "models = [1]",
    "an entry a number": "[models]\nx = 3",
    "no source": "[models.x]",
    "a source of another type": "[models.x]\nsource = 3",
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
def test_a_wrong_catalog_is_named_with_its_file(config, text):
    with pytest.raises(ConfigError, match=r"batchchat\.toml") as raised:
        load_catalog(config(text))
    assert raised.value.hint


def test_a_catalog_that_can_t_be_read_is_named(tmp_path):
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
    ["", "none", "a/b/c", "/a", "a/", "./a", "~a/b", "~nobody", "a\0b", "x" * 5_000],
)
def test_any_other_name_is_no_model(name):
    with pytest.raises(ModelNotFoundError, match="no model") as raised:
        load_catalog().find(name)
    assert "`demo`" in str(raised.value.hint)
