"""An error of a setting has its name, its value, the allowed range, and a hint."""

import pytest

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.settings import load_settings


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "batchchat.toml"
    monkeypatch.setenv("BATCHCHAT_CONFIG", str(path))
    return path


def load():
    load_catalog(load_settings().config)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "x", "must be an integer from 0 to 65,535, not `x`"),
        ("PORT", "70000", "must be an integer from 0 to 65,535, not `70000`"),
        ("SHARD_REQUESTS", "1e3", "must be an integer from 1 to 100,000, not `1e3`"),
        ("SHARD_BYTES", "8MB", "must be an integer of at least 1,024, not `8MB`"),
        ("LEASE_SECONDS", "0.5", "must be a number from 1 to 3,600, not `0.5`"),
        ("STALL_SECONDS", "0", "must be a number of at least 1, not `0`"),
        (
            "CHECKPOINT_SECONDS",
            "nan",
            "must be a number above 0 and at most 600, not `nan`",
        ),
        ("METRICS", "maybe", "must be true or false, not `maybe`"),
        ("REQUESTS_PER_MINUTE", "-1", "must be an integer of at least 1, not `-1`"),
        ("ENGINE_PROCESS", "both", "must be `auto`, `in_process` or `subprocess`, not"),
        ("PORT", "9" * 200, f"not `{'9' * 80}…`"),
    ],
)
def test_variable_with_a_wrong_value(monkeypatch, name, value, message):
    monkeypatch.setenv(f"BATCHCHAT_{name}", value)
    with pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.message.startswith(f"BATCHCHAT_{name} must be ")
    assert message in raised.value.message
    assert f"`unset BATCHCHAT_{name}`" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("junk", "BATCHCHAT_PROJECTS is not JSON"),
        ('{"a": 5}', "BATCHCHAT_PROJECTS: `a` must be a table, not `5`"),
        ('{"a": {"share": 0}}', "`a.share` must be a number above 0 and at most"),
        ('{"a": {"shar": 1}}', "`[projects.a]` has no field `shar`; did you mean `sha"),
    ],
)
def test_variable_with_wrong_json(monkeypatch, value, message):
    monkeypatch.setenv("BATCHCHAT_PROJECTS", value)
    with pytest.raises(ConfigError) as raised:
        load()
    assert message in raised.value.message
    assert "unset BATCHCHAT_PROJECTS" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "port = 99999",
            "`port` in {} must be an integer from 0 to 65,535, not `99999`",
        ),
        ("shard_requests = 1.5", "`shard_requests` in {} must be an integer from"),
        ("storage = 5", "`storage` in {} must be a text, not `5`"),
        ('metrics = "maybe"', "`metrics` in {} must be true or false, not `maybe`"),
        ("output_prefixes = 5", "`output_prefixes` in {} must be a list of texts, not"),
        ('output_prefixes = ["/a/", 4]', "`output_prefixes[1]` in {} must be a text, "),
        ("projects = 4", "`projects` in {} must be a table, not `4`"),
        (
            '[projects.a]\nmax_priority = "x"',
            "`projects.a.max_priority` in {} must be `low`, `normal` or `high`",
        ),
        (
            '[projects.a]\nmax_daily_cost = "x"',
            "`projects.a.max_daily_cost` in {} must be a number of at least 0, not `x`",
        ),
        ("models = 5", "`models` in {} must be a table, not `5`"),
        ("[models]\nmine = 5", "`models.mine` in {} must be a table, not `5`"),
        ("[models.m]\nstop = []", "`[models.m]` in {} has no `source`"),
        ("[models.m]\nstops = 1", "`[models.m]` in {} has no field `stops`; did you"),
        (
            "[models.m]\nsource = 5",
            "`source` of `[models.m]` in {} must be a text, not",
        ),
        (
            '[models.demo]\ncontext_length = "8k"',
            "`context_length` of `[models.demo]` in {} must be an integer of at least",
        ),
        ("[models.demo]\nstop_token_ids = 5", "must be a list of integers, not `5`"),
        (
            "[models.demo]\nstop = [1]",
            "`stop[0]` of `[models.demo]` in {} must be a tex",
        ),
        (
            "[models.demo]\nprice = 3",
            "`price` of `[models.demo]` in {} must be a table",
        ),
        ("[models.demo]\nprice = {input = 1}", "in {} has no `price.output`"),
        (
            '[models.demo]\nprice = {input = "x", output = 1, date = "d"}',
            "`price.input` of `[models.demo]` in {} must be a number, not `x`",
        ),
        (
            '[models.demo]\nprice = {input = -1, output = 1, date = "d"}',
            "`[models.demo]` in {}: a price must be a number of at least 0",
        ),
        ("[models.demo]\ngpu_hour = nan", "`gpu_hour` must be a number of at least 0"),
        ('[models.demo]\nspecial_tokens = {bos = "x"}', "must be `bos_token`, `eos_to"),
    ],
)
def test_file_with_a_wrong_value(config, text, message):
    config.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load()
    assert message.replace("in {}", f"in `{config}`") in raised.value.message
    assert (raised.value.hint or "").startswith("correct ")


@pytest.mark.parametrize("name", ["api_key", "broker"])
def test_secret_is_not_repeated(config, name):
    config.write_text(f"{name} = 47114711")
    with pytest.raises(ConfigError) as raised:
        load()
    assert raised.value.message == f"`{name}` in `{config}` must be a text"
