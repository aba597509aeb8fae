"""The dataset recipe: its requests, and the samples that it keeps."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from examples.batch import RecipeError
from examples.dataset.keep import Filter, keep
from examples.dataset.prompt import Prompt, read_prompts, requests

HELLO = [{"role": "user", "content": "Hello"}]


def row(custom_id, content, **other):
    said = [*HELLO, {"role": "assistant", "content": content}]
    return {
        "custom_id": custom_id,
        "status": "completed",
        "finish_reason": "stop",
        "content": content,
        "messages": said,
        "seed": 5,
        "model": "demo",
        "system_fingerprint": "fp",
        "completion_tokens": 3,
        **other,
    }


def kept(tmp_path, *rows, shortest=1, longest=99):
    """Return the rows that are kept and the counts."""
    source, made = tmp_path / "results.parquet", tmp_path / "made.parquet"
    pq.write_table(pa.Table.from_pylist(list(rows)), source)
    counts = keep(source, made, Filter(shortest, longest))
    return pq.read_table(made).to_pylist() if made.exists() else [], counts


def test_each_sample_is_a_request_without_a_seed():
    prompts = [Prompt(1, HELLO), Prompt(2, HELLO)]
    lines = list(requests(prompts, samples=2, temperature=1.0, max_tokens=9))
    assert [it["custom_id"] for it in lines] == ["1-0", "1-1", "2-0", "2-1"]
    body = {"messages": HELLO, "temperature": 1.0, "max_tokens": 9}
    assert all(it["body"] == body for it in lines)


def test_a_prompt_is_a_text_or_a_conversation(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{{"prompt": "Hello"}}\n\n{json.dumps({"messages": HELLO})}\n')
    assert list(read_prompts(path)) == [Prompt(1, HELLO), Prompt(2, HELLO)]


@pytest.mark.parametrize("line", ["{}", '{"prompt": 1}', '{"messages": []}'])
def test_an_invalid_prompt_is_reported(tmp_path, line):
    path = tmp_path / "prompts.jsonl"
    path.write_text(line)
    with pytest.raises(RecipeError, match="prompt 1: `prompt` or"):
        list(read_prompts(path))


def test_a_kept_sample_becomes_an_example(tmp_path):
    [example], _ = kept(tmp_path, row("4-1", " Hi \n"))
    assert example == {
        "messages": [*HELLO, {"role": "assistant", "content": "Hi"}],
        "prompt_id": 4,
        "sample": 1,
        "seed": 5,
        "model": "demo",
        "system_fingerprint": "fp",
        "completion_tokens": 3,
    }


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"status": "failed", "messages": None, "content": None}, "failed"),
        ({"finish_reason": "length"}, "not finished"),
        ({"finish_reason": "tool_calls"}, "not finished"),
        ({"content": " \n "}, "too short"),
        ({"content": None}, "too short"),
        ({"content": "x" * 100}, "too long"),
    ],
)
def test_rejected_samples_are_dropped_and_counted(tmp_path, other, fault):
    examples, counts = kept(tmp_path, row("1-0", "Good"), row("1-1", "Hi") | other)
    assert [it["sample"] for it in examples] == [0]
    assert counts == {"kept": 1, fault: 1}


def test_duplicate_answers_to_one_prompt_are_dropped(tmp_path):
    rows = (
        row("1-0", "Yes, it is"),
        row("1-1", "yes,  IT is\n"),
        row("2-0", "Yes, it is"),
    )
    examples, counts = kept(tmp_path, *rows)
    assert [(it["prompt_id"], it["sample"]) for it in examples] == [(1, 0), (2, 0)]
    assert counts["duplicate"] == 1


def test_lengths_ignore_surrounding_whitespace(tmp_path):
    rows = [row(f"1-{n}", " " * 9 + "x" * n) for n in (2, 3, 5, 6)]
    examples, _ = kept(tmp_path, *rows, shortest=3, longest=5)
    assert [it["sample"] for it in examples] == [3, 5]


def test_the_dataset_is_unchanged_if_no_sample_is_kept(tmp_path):
    before, _ = kept(tmp_path, row("1-0", "Good"))
    after, counts = kept(tmp_path, row("1-0", ""))
    assert (before, counts["too short"]) == (after, 1)
    assert {it.name for it in tmp_path.iterdir()} == {"results.parquet", "made.parquet"}
