"""Settings come from the environment, then from the file it names."""

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.settings import load_settings


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write the file that BATCHCHAT_CONFIG names."""
    path = tmp_path / "batchchat.toml"
    monkeypatch.setenv("BATCHCHAT_CONFIG", str(path))
    return path


def test_one_file_holds_settings_and_models(config):
    config.write_text('shard_requests = 7\n[models.mine]\nsource = "org/mine"\n')
    settings = load_settings()
    assert settings.shard_requests == 7
    assert load_catalog(settings.config).find("mine").source == "org/mine"


def test_the_environment_takes_precedence_over_the_file(config, monkeypatch):
    config.write_text("shard_requests = 7\n")
    monkeypatch.setenv("BATCHCHAT_SHARD_REQUESTS", "8")
    assert load_settings().shard_requests == 8


def test_an_invalid_setting_is_an_error_with_its_name(monkeypatch):
    monkeypatch.setenv("BATCHCHAT_SHARD_REQUESTS", "many")
    with pytest.raises(ConfigError, match="BATCHCHAT_SHARD_REQUESTS"):
        load_settings()


@pytest.mark.parametrize("name", ["ON_INVALID", "ENGINE_PROCESS", "ENGINE_LOG"])
def test_an_unknown_choice_is_an_error_that_lists_the_choices(monkeypatch, name):
    monkeypatch.setenv(f"BATCHCHAT_{name}", "never")
    with pytest.raises(ConfigError, match=r"must be `\w+`, .*or `\w+`, not `never`"):
        load_settings()


def test_an_invalid_toml_file_is_an_error_with_its_path(config):
    config.write_text("shard_requests =")
    with pytest.raises(ConfigError, match=r"batchchat\.toml"):
        load_settings()


@pytest.mark.usefixtures("config")
def test_a_missing_config_file_is_an_error_with_its_path():
    with pytest.raises(ConfigError, match=r"batchchat\.toml"):
        load_settings()


def test_an_empty_variable_counts_as_unset(monkeypatch):
    for name in ("CONFIG", "BROKER", "PORT"):
        monkeypatch.setenv(f"BATCHCHAT_{name}", "")
    settings = load_settings()
    assert (settings.config, settings.broker, settings.port) == (None, None, 8000)


@pytest.mark.parametrize(
    ("text", "engines", "gpus"),
    [
        ("engines = 2\ngpus = 3", "2", "3"),
        ('engines = "auto"\ngpus = "0,1"', "auto", "0,1"),
        ("", "1", None),
    ],
)
def test_engines_and_gpus_are_numbers_or_text(config, text, engines, gpus):
    config.write_text(text)
    settings = load_settings()
    assert (settings.engines, settings.gpus) == (engines, gpus)
