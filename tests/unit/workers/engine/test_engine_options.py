"""`--engine NAME=VALUE` is read as vLLM's own command line reads its options."""

import pytest

from batchchat.jobs.errors import BatchchatError
from batchchat.workers.engine import vllm_arguments
from batchchat.workers.engine.engine_options import parse_options

pytest.importorskip("torch", reason="vLLM is not installed")

NGRAM = {"method": "ngram", "num_speculative_tokens": 3}


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ([], {}),
        (["max_num_seqs=4"], {"max_num_seqs": 4}),
        (["max-num-seqs=4"], {"max_num_seqs": 4}),
        (["--max-num-seqs = 4"], {"max_num_seqs": 4}),
        (["max_num_seqs=4", "max_num_seqs=8"], {"max_num_seqs": 8}),
        (["max_num_seqs=null"], {"max_num_seqs": None}),
        (["max_model_len=8k"], {"max_model_len": 8_000}),
        (["max_model_len=8K"], {"max_model_len": 8_192}),
        (["max_model_len=1.5k"], {"max_model_len": 1_500}),
        (["max_model_len=-1"], {"max_model_len": -1}),
        (["gpu_memory_utilization=0.5"], {"gpu_memory_utilization": 0.5}),
        (["cpu_offload_gb=4"], {"cpu_offload_gb": 4}),
        (["enable_prefix_caching=False"], {"enable_prefix_caching": False}),
        (["enforce_eager=true"], {"enforce_eager": True}),
        (["dtype=float32"], {"dtype": "float32"}),
        (["quantization=awq"], {"quantization": "awq"}),
        (["quantization=None"], {"quantization": None}),
        (["load_format=123"], {"load_format": "123"}),
        (["served_model_name=a=b"], {"served_model_name": "a=b"}),
        (["cudagraph_capture_sizes=[1, 2]"], {"cudagraph_capture_sizes": [1, 2]}),
        (['hf_overrides={"a": 1}'], {"hf_overrides": {"a": 1}}),
        (["hf_overrides.a.b=2.5"], {"hf_overrides": {"a": {"b": 2.5}}}),
        (["compilation_config.mode=0"], {"compilation_config": {"mode": 0}}),
        (
            [
                "speculative_config.method=ngram",
                "speculative-config.num_speculative_tokens=3",
            ],
            {"speculative_config": NGRAM},
        ),
        (
            ['speculative_config={"method": "ngram"}', "speculative_config.k=true"],
            {"speculative_config": {"method": "ngram", "k": True}},
        ),
        (["data_parallel_size=1"], {"data_parallel_size": 1}),
    ],
)
def test_values_get_the_type_that_vllm_expects(options, arguments):
    found = parse_options(options)
    assert found == arguments
    assert list(map(type, found.values())) == list(map(type, arguments.values()))


@pytest.mark.parametrize(
    ("option", "message", "hint"),
    [
        ("max_num_seqs", "is not NAME=VALUE", "--engine max_num_seqs=256"),
        ("=4", "is not NAME=VALUE", "--engine max_num_seqs=256"),
        ("max seqs=4", "is not NAME=VALUE", "--engine max_num_seqs=256"),
        ("a..b=4", "is not NAME=VALUE", "--engine max_num_seqs=256"),
        ("max_num_seq=4", "no engine argument `max_num_seq`", "`max_num_seqs`?"),
        ("xyzzy=1", "no engine argument `xyzzy`", "remove it from `--engine`"),
        ("max_num_seqs=", "must be an integer, not `''`", "`--engine`"),
        ("max_num_seqs=4.5", "must be an integer, not `'4.5'`", "`--engine`"),
        ("max_num_seqs=true", "must be an integer", "`--engine`"),
        ("max_num_seqs.a=4", "must be an integer", "`--engine`"),
        ("max_model_len=1.5K", "must be an integer", "`--engine`"),
        ("max_model_len=none", "must be an integer", "`--engine`"),
        ("enforce_eager=1", "must be true or false", "`--engine`"),
        ("gpu_memory_utilization=NaN", "must be a number", "`--engine`"),
        ("gpu_memory_utilization=all", "must be a number", "`--engine`"),
        ("dtype=float17", "must be `auto` or `bfloat16`", "`--engine`"),
        ("kv_cache_dtype=fp9", "must be `auto`", "`--engine`"),
        ("speculative_config=ngram", "must be a table", "`--engine`"),
        ("speculative_config=[1]", "must be a table", "`--engine`"),
    ],
)
def test_other_options_are_errors_with_a_hint(option, message, hint):
    with pytest.raises(BatchchatError, match=r"argument|NAME=VALUE") as caught:
        parse_options([option])
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("data_parallel_size=2", "`--engines`"),
        ("data-parallel-size=0", "`--engines`"),
        ("data_parallel_rank=0", "`--engines`"),
        ("model=other", "`--model`"),
        ("tokenizer=other", "`--model`"),
        ("revision=main", "`revision`"),
        ("runner=pooling", "generate text"),
    ],
)
def test_arguments_that_contradict_the_plan_are_refused(option, hint):
    with pytest.raises(BatchchatError, match="is not supported") as caught:
        parse_options([option])
    assert hint in (caught.value.hint or "")


def test_without_vllm_values_are_json_or_text(monkeypatch):
    monkeypatch.setattr(vllm_arguments, "_annotations", dict)
    options = ["max_num_seqs=4", "dtype=float32", "enforce_eager=true", "a.b=1"]
    assert parse_options(options) == {
        "max_num_seqs": 4,
        "dtype": "float32",
        "enforce_eager": True,
        "a": {"b": 1},
    }
