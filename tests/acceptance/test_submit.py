"""`batchchat submit` on the examples: every result, on real vLLM."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.acceptance.command import Done, Place
from tests.acceptance.inputs import custom_ids

pytestmark = pytest.mark.engine

EXAMPLES = Path(__file__).parents[2] / "examples" / "requests.jsonl"
ASKED = [json.loads(line) for line in EXAMPLES.read_bytes().splitlines()]
MILLION = 1_000_000
OURS = re.compile(
    "batch_[0-9a-f]{32}|checking the input.*|loading the model.*|writing the results"
    "|[0-9]+%  .* requests.*|completed  164 of 164 requests"
    "|  (tokens|cost|engine|wrote)  .*"
)
"""The lines that batchchat itself prints to stderr."""


class Ended(NamedTuple):
    """The completed batch that the tests of this module check."""

    place: Place
    done: Done
    output: Path
    batch: dict[str, Any]
    results: list[dict[str, Any]]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The chat completions, in the order of the output."""
        return [result["response"]["body"] for result in self.results]


@pytest.fixture(scope="module")
def ended(make_place):
    place = make_place()
    output = place.folder / "out.jsonl"
    wish = ["--model", "demo", "--output", output, "--format", "both", "--seed", "7"]
    done = place.run("submit", EXAMPLES, *wish, "--json", engine=True)
    assert done.code == 0, done.err
    results = [_parsed(line) for line in output.read_bytes().splitlines()]
    return Ended(place, done, output, done.json(), results)


def _parsed(line: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return parsed


def test_every_request_has_one_result_in_input_order(ended):
    answered = [result["custom_id"] for result in ended.results]
    assert answered == custom_ids(EXAMPLES.read_bytes())
    assert len(set(answered)) == len(answered) == 164
    assert not ended.output.with_suffix(".errors.jsonl").exists()


def test_each_line_has_openais_fields(ended):
    ids = {result["id"] for result in ended.results}
    assert len(ids) == 164
    for result in ended.results:
        assert list(result) == ["id", "custom_id", "response", "error"]
        assert result["id"].startswith("batch_req_")
        assert result["error"] is None
        assert result["response"]["status_code"] == 200
        assert result["response"]["request_id"]


def test_official_client_reads_each_body(ended):
    from openai.types.chat import ChatCompletion

    for line in ended.output.read_bytes().splitlines():
        body = json.loads(line)["response"]["body"]
        completion = ChatCompletion.model_validate(body, strict=True)
        assert completion.object == "chat.completion"
        assert completion.model == "demo"
        assert completion.system_fingerprint in ended.batch["engines"]


def test_number_of_choices_is_n(ended):
    for asked, body in zip(ASKED, ended.bodies, strict=True):
        indices = [choice["index"] for choice in body["choices"]]
        assert indices == list(range(asked["body"].get("n", 1)))
    assert any(len(body["choices"]) > 1 for body in ended.bodies)


def test_logprobs_are_present_only_if_requested(ended):
    wanted = [one["body"] for one in ASKED if one["body"].get("logprobs")]
    got = [body for body in ended.bodies if body["choices"][0]["logprobs"]]
    for asked, body in zip(wanted, got, strict=True):
        tokens = body["choices"][0]["logprobs"]["content"]
        assert len(tokens) == body["usage"]["completion_tokens"]
        top = asked.get("top_logprobs", 0)
        assert {len(token["top_logprobs"]) for token in tokens} == {top}
    assert len(got) == 3


def test_answers_respect_max_tokens(ended):
    for asked, body in zip(ASKED, ended.bodies, strict=True):
        most = asked["body"].get("max_tokens") or asked["body"]["max_completion_tokens"]
        tokens = body["usage"]["completion_tokens"]
        assert 0 < tokens <= most * len(body["choices"])


def test_answers_contain_the_seed_used(ended):
    for asked, body in zip(ASKED, ended.bodies, strict=True):
        assert isinstance(body["seed"], int)
        assert body["seed"] == asked["body"].get("seed", body["seed"])
    drawn = [
        body["seed"]
        for asked, body in zip(ASKED, ended.bodies, strict=True)
        if "seed" not in asked["body"]
    ]
    assert len(set(drawn)) == len(drawn) > 50


def test_usage_of_the_batch_is_the_sum(ended):
    used = [body["usage"] for body in ended.bodies]
    batch = ended.batch["usage"]
    assert batch["input_tokens"] == sum(one["prompt_tokens"] for one in used)
    assert batch["output_tokens"] == sum(one["completion_tokens"] for one in used)
    assert batch["total_tokens"] == sum(one["total_tokens"] for one in used)
    for one in used:
        assert one["total_tokens"] == one["prompt_tokens"] + one["completion_tokens"]


def test_cost_is_exactly_tokens_times_price(ended):
    models = ended.place.run("models", "--json").json()["data"]
    [demo] = (model for model in models if model["id"] == "demo")
    price = {way: Decimal(str(demo["price"][way])) for way in ("input", "output")}

    def cost(input_tokens: int, output_tokens: int) -> Decimal:
        spent = input_tokens * price["input"] + output_tokens * price["output"]
        return spent / MILLION

    for one in (body["usage"] for body in ended.bodies):
        tokens = one["prompt_tokens"], one["completion_tokens"]
        assert one["estimated_cost"] == cost(*tokens) > 0
    total = ended.batch["usage"]
    expected = cost(total["input_tokens"], total["output_tokens"])
    assert ended.batch["estimated_cost"] == expected
    assert sum(b["usage"]["estimated_cost"] for b in ended.bodies) == expected


def test_official_client_reads_the_batch_on_stdout(ended):
    from openai.types import Batch

    batch = Batch.model_validate(json.loads(ended.done.out), strict=True)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.completed == batch.request_counts.total == 164
    assert batch.completed_at is not None
    assert batch.in_progress_at is not None
    assert batch.created_at <= batch.in_progress_at <= batch.completed_at
    assert ended.batch["seed"] == 7


def test_parquet_file_has_the_same_rows(ended):
    from pyarrow import parquet

    rows = parquet.read_table(ended.output.with_suffix(".parquet")).to_pylist()
    for row, result, asked in zip(rows, ended.results, ASKED, strict=True):
        body = result["response"]["body"]
        content = body["choices"][0]["message"]["content"]
        assert row["custom_id"] == result["custom_id"]
        assert row["content"] == content
        last = row["messages"][-1]
        assert (last["role"], last["content"]) == ("assistant", content)
        assert len(row["messages"]) == len(asked["body"]["messages"]) + 1
        assert row["estimated_cost"] == body["usage"]["estimated_cost"]
        assert json.loads(row["response"], parse_float=Decimal) == result["response"]


def test_output_of_the_engine_is_hidden(ended):
    assert ended.done.out.count(b"\n") == 1
    alien = [it for it in ended.done.err.splitlines() if not OURS.fullmatch(it)]
    assert alien == []


def test_status_and_list_show_the_same_batch(ended):
    place, batch = ended.place, ended.batch
    assert place.run("status", batch["id"], "--json").json() == batch
    listed = place.run("list", "--json").json()
    assert listed["object"] == "list"
    assert batch in listed["data"]  # beside what another test has made of it
    ids = [one["id"] for one in listed["data"]]
    assert (listed["first_id"], listed["last_id"]) == (ids[0], ids[-1])
    assert listed["has_more"] is False
    for command in (["status", batch["id"]], ["list"]):
        assert b"completed" in place.run(*command).out


def test_results_are_reproducible_byte_for_byte(ended):
    place, batch_id = ended.place, ended.batch["id"]
    assert place.run("results", batch_id).out == ended.output.read_bytes()
    again = place.folder / "again.parquet"
    done = place.run("results", batch_id, "-o", again, "--format", "parquet")
    assert done.code == 0
    assert again.read_bytes() == ended.output.with_suffix(".parquet").read_bytes()
    assert place.run("results", batch_id, "--errors").out == b""


def test_retry_without_failures_is_an_error(ended):
    done = ended.place.run("retry", ended.batch["id"])
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: nothing to retry: all requests of `batch_")
    listed = ended.place.run("list", "--json").json()["data"]
    assert [batch["retry_of"] for batch in listed if batch["retry_of"]] == []


def test_cancel_of_a_completed_batch_is_an_error(ended):
    done = ended.place.run("cancel", ended.batch["id"])
    assert done.code == 2
    message = "error: Cannot cancel a batch with status 'completed'.\n"
    assert done.err.startswith(message)


def test_resume_of_an_ended_batch_writes_its_results_without_an_engine(ended):
    files = [ended.output, ended.output.with_suffix(".parquet")]
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    done = ended.place.run("resume", ended.batch["id"], "--json")
    assert done.code == 0, done.err
    assert done.json() == ended.batch
    assert [file.read_bytes() for file in files] == before


def test_verify_finds_identical_answers(ended):
    command = ["verify", ended.batch["id"], "--sample", "24", "--json"]
    done = ended.place.run(*command, engine=True)
    assert done.code == 0, done.err
    verdict = done.json()
    assert (verdict["sampled"], verdict["identical"], verdict["share"]) == (24, 24, 1)
    (engine,) = {body["system_fingerprint"] for body in ended.bodies}
    assert verdict["fingerprints"] == {"then": {engine: 24}, "now": {engine: 24}}
