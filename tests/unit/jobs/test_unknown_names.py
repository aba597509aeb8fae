"""A mistyped setting is reported, and what it probably should be."""

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.settings import Settings, load_settings, unknown_settings


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write the file that BATCHCHAT_CONFIG names."""
    path = tmp_path / "batchchat.toml"

    def write(text):
        path.write_text(text)
        monkeypatch.setenv("BATCHCHAT_CONFIG", str(path))
        return path

    return write


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BATCHCHAT_STORGE", "BATCHCHAT_STORAGE"),
        ("BATCHCHAT_SHARD_REQUEST", "BATCHCHAT_SHARD_REQUESTS"),
        ("batchchat_storge", "BATCHCHAT_STORAGE"),
        ("BATCHCHAT_XYZ", None),
        ("BATCHCHAT_", None),
    ],
)
def test_an_unknown_variable_is_reported(monkeypatch, name, meant):
    monkeypatch.setenv(name, "1")
    (warning,) = unknown_settings()
    hint = f"; did you mean `{meant}`?" if meant else ""
    assert warning == f"`{name}` is not a setting and is ignored{hint}"
    load_settings()


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_known(monkeypatch, field):
    monkeypatch.setenv(f"BATCHCHAT_{field.upper()}", "")
    assert unknown_settings() == []


@pytest.mark.parametrize(
    ("text", "reported", "advice"),
    [
        ('storge = "/x"', "`storge`", "did you mean `storage`?"),
        ('BATCHCHAT_STORAGE = "/x"', "`BATCHCHAT_STORAGE`", "`storage`"),
        ('[model.mine]\nsource = "org/m"', "`[model]`", "did you mean `models`?"),
        ('[[modles]]\nsource = "org/m"', "`modles`", "did you mean `models`?"),
        ("[settings]\nport = 1", "`[settings]`", "belong at the top of the file"),
        ("xyz = 1", "`xyz`", "is ignored"),
    ],
)
def test_an_unknown_key_or_section_is_reported(config, text, reported, advice):
    path = config(text)
    (warning,) = unknown_settings()
    assert warning.startswith(f"{reported} in `{path}`")
    assert advice in warning
    load_settings()
    load_catalog(path)


def test_settings_models_and_projects_are_known(config):
    config('port = 1\n[models.mine]\nsource = "org/m"\n[projects.default]\nshare = 2\n')
    assert unknown_settings() == []


@pytest.mark.parametrize("text", ["port =", "\0"])
def test_a_file_that_can_not_be_read_is_left_to_the_settings(config, text):
    config(text)
    assert unknown_settings() == []


@pytest.mark.parametrize(
    ("entry", "near"),
    [
        ('chat_templte = "x"', "`chat_template`"),
        ('price = { input = 1, outptu = 2, date = "2026-11-01" }', "`output`"),
        ("shard_requests = 5", "has no field `shard_requests`"),
    ],
)
def test_an_unknown_field_of_a_model_is_an_error(config, entry, near):
    path = config(f'[models.mine]\nsource = "org/m"\n{entry}\n')
    with pytest.raises(ConfigError) as caught:
        load_catalog(path)
    assert near in caught.value.message
    assert caught.value.hint
