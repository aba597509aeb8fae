"""vLLM's answers are reused whole: choices, logprobs, tool calls and turns."""

import json
from typing import Any

import pytest

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.prompts.registry import RendererRegistry
from tests.integration.chat_batches import NAMED, TOOLS, Kept, full
from tests.support.reusing import submit
from tests.support.running import Bench

pytestmark = pytest.mark.engine

BODIES: list[dict[str, Any]] = [
    {"max_tokens": 4},
    {"max_tokens": 4, "n": 2, "logprobs": True, "top_logprobs": 2},
    {"max_tokens": 60, "tools": TOOLS, "tool_choice": NAMED},
    {
        "max_tokens": 4,
        "messages": [
            {"role": "user", "content": "One"},
            {"role": "assistant", "generate": True},
            {"role": "user", "content": "Two"},
        ],
    },
]


def test_answers_of_vllm_are_reused_whole(batches, tmp_path):
    bench = Bench(
        tmp_path,
        renderers=RendererRegistry(Catalog({"demo": batches.model}), batches.models),
        start_engine=lambda _: Kept(batches.engine),
    )
    data = b"\n".join(json.dumps(full(body)).encode() for body in BODIES)
    first = bench.run(submit(bench, data, model="demo"))
    steps = batches.engine.steps
    second = bench.run(submit(bench, data, first.batch.id, model="demo"))
    assert second.reused() == len(BODIES)
    assert batches.engine.steps == steps
    before, after = (bench.results(state)[0] for state in (first, second))
    for old, new in zip(before, after, strict=True):
        old_body, body = old["response"]["body"], new["response"]["body"]
        kept = ("choices", "turns", "seed", "system_fingerprint")
        assert [body.get(name) for name in kept] == [
            old_body.get(name) for name in kept
        ]
        assert body["usage"] == old_body["usage"] | {"estimated_cost": 0}
