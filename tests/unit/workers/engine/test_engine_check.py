"""An engine that can't start here is an error before it is started."""

import pytest

from batchchat.jobs.catalog.catalog import Model, load_catalog
from batchchat.jobs.errors import ConfigError, EngineStartError
from batchchat.jobs.settings import Settings
from batchchat.workers.engine import engine_check
from batchchat.workers.engine.engine_check import check_engine, check_parallel_sizes
from batchchat.workers.engine.startup import start_engine
from batchchat.workers.engine.vllm_arguments import check_arguments

pytest.importorskip("torch", reason="vLLM is not installed")


def model(**engine):
    return Model(name="mine", source="demo", engine=engine)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({"max_modl_len": 9}, "no engine argument `max_modl_len`", "`max_model_len`"),
        ({"xyzzy": 1}, "no engine argument `xyzzy`", r"\[models.mine.engine\]"),
        ({"max_model_len": "9"}, "must be an integer, not `'9'`", "models.mine"),
        ({"max_model_len": 9.5}, "must be an integer", "models.mine"),
        ({"tensor_parallel_size": True}, "must be an integer", "models.mine"),
        ({"enforce_eager": 1}, "must be true or false", "models.mine"),
        ({"gpu_memory_utilization": "all"}, "must be a number", "models.mine"),
        ({"dtype": "float17"}, "must be `auto` or `bfloat16`", "models.mine"),
        ({"kv_cache_dtype": "fp9"}, "must be `auto`", "models.mine"),
        ({"load_format": 3}, "must be a text", "models.mine"),
        ({"speculative_config": "eagle"}, "must be a table", "models.mine"),
    ],
)
def test_invalid_arguments_are_named_with_a_hint(arguments, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        check_arguments("mine", arguments)
    assert caught.value.hint is not None
    assert caught.match("model `mine`")
    assert hint.replace("\\", "") in caught.value.hint


@pytest.mark.parametrize(
    "arguments",
    [
        {"dtype": "float32", "max_model_len": 9, "gpu_memory_utilization": 1},
        {"enforce_eager": True, "quantization": "awq", "load_format": "auto"},
        {"structured_outputs_config": {"backend": "auto"}, "hf_overrides": {}},
        {"distributed_executor_backend": "mp", "compilation_config": {}},
    ],
)
def test_valid_arguments_pass(arguments):
    check_arguments("mine", arguments)


def test_the_arguments_of_the_built_in_catalog_are_valid():
    for entry in load_catalog():
        check_arguments(entry.name, entry.engine)


@pytest.mark.parametrize(
    ("engine", "gpus", "message"),
    [
        ({"tensor_parallel_size": 4}, 2, "requires 4 GPUs, and this process can use 2"),
        (
            {"tensor_parallel_size": 2},
            0,
            "requires 2 GPUs, and .* can use none",
        ),
        (
            {"pipeline_parallel_size": 2},
            1,
            "`pipeline_parallel_size` 2 requires 2 GPUs",
        ),
        (
            {"tensor_parallel_size": 2, "pipeline_parallel_size": 3},
            4,
            "`tensor_parallel_size` 2 and `pipeline_parallel_size` 3 require 6 GPUs",
        ),
        ({"tensor_parallel_size": 0}, 2, "must be at least 1, not 0"),
        ({"pipeline_parallel_size": -1}, None, "must be at least 1, not -1"),
    ],
)
def test_impossible_parallel_sizes_are_errors(engine, gpus, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check_parallel_sizes(model(**engine), gpus)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("engine", "gpus"),
    [
        ({}, 0),
        ({"tensor_parallel_size": 1}, 0),
        ({"tensor_parallel_size": 2}, 2),
        ({"tensor_parallel_size": 8}, None),
        ({"tensor_parallel_size": 16, "distributed_executor_backend": "ray"}, 8),
        ({"tensor_parallel_size": 2, "distributed_executor_backend": "mp"}, 0),
    ],
)
def test_possible_parallel_sizes_pass(engine, gpus):
    check_parallel_sizes(model(**engine), gpus)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"tensor_parallel_size": 3}, "3 does not divide the model's 8 attention"),
        ({"pipeline_parallel_size": 64}, "64 exceeds the model's 4 layers"),
    ],
)
def test_a_model_that_cannot_be_divided_is_an_error(
    engine, message, tmp_path, monkeypatch
):
    folder = tmp_path / "model"
    folder.mkdir()
    text = '{"num_attention_heads": 8, "num_hidden_layers": 4}'
    (folder / "config.json").write_text(text)
    monkeypatch.setattr(engine_check, "visible_gpus", lambda: ("0",) * 64)
    entry = Model(name="mine", source=str(folder), engine=engine)
    with pytest.raises(ConfigError, match=message):
        check_engine(entry, tmp_path, Settings())


def test_a_missing_vllm_is_an_error_unless_text_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_check, "find_spec", lambda _: None)
    with pytest.raises(EngineStartError, match="is not installed") as caught:
        start_engine(model(), tmp_path, Settings())
    assert "pip install" in (caught.value.hint or "")
    check_engine(model(xyzzy=1), tmp_path, Settings(simulated_tokens_per_second=9))


def test_an_impossible_engine_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_check, "visible_gpus", tuple)
    with pytest.raises(ConfigError, match="can use none"):
        start_engine(model(tensor_parallel_size=2), tmp_path, Settings())
