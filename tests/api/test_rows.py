"""Batches of rows over the API, with OpenAI's client and with the commands."""

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from openai import BadRequestError, OpenAI

from batchchat.api.routes import row_batches
from tests.api.api_server import URL, error_of
from tests.support.ended import Hand
from tests.support.table_rows import parquet_of

ROWS = {"id": ["a", "b"], "question": ["Why?", "When?"]}
PARQUET = parquet_of({"id": ["a", "b", "c"], "question": ["Why?", None, "When?"]})
PROMPT = {"prompt": "{{ question }}", "samples": 2, "id_column": "id"}


def rows_of(columns):
    names = list(columns)
    return [
        dict(zip(names, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


def csv_of(columns, delimiter=","):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return text.getvalue().encode()


def arrow_of(columns):
    sink = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in rows_of(ROWS))
FORMATS = {
    "parquet": parquet_of(ROWS),
    "jsonl": JSONL,
    "jsonl.gz": gzip.compress(JSONL),
    "json": json.dumps(rows_of(ROWS)).encode(),
    "csv": csv_of(ROWS),
    "csv.zst": pa.compress(csv_of(ROWS), codec="zstd", asbytes=True),
    "tsv": csv_of(ROWS, "\t"),
    "arrow": arrow_of(ROWS),
}


@pytest.fixture
def client(served):
    url = f"{served.url}/v1"
    with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def create(client, data, name, rows, **fields):
    file = client.files.create(file=(name, data), purpose="batch")
    return client.batches.create(
        input_file_id=file.id,
        endpoint=URL,
        completion_window="24h",
        extra_body={"model": "m", "rows": rows, **fields},
    )


def run(served, batch_id):
    hand = Hand(served.storage)
    hand.make_plan(batch_id)
    if not hand.ledger.state(batch_id).is_terminal:
        hand.run(batch_id)
        hand.finalize(batch_id)


@pytest.mark.parametrize("name", FORMATS)
def test_rows_in_any_format_of_a_single_file_become_requests(served, client, name):
    batch = create(client, FORMATS[name], f"rows.{name}", PROMPT)
    run(served, batch.id)
    ended = client.batches.retrieve(batch.id)
    assert ended.status == "completed"
    assert (ended.request_counts.total, ended.request_counts.failed) == (4, 0)
    output = client.files.content(ended.output_file_id).text.splitlines()
    assert [json.loads(line)["custom_id"] for line in output] == [
        "a-sample-1",
        "a-sample-2",
        "b-sample-1",
        "b-sample-2",
    ]
    assert ended.rows["samples"] == 2


def test_a_row_that_cannot_be_rendered_is_named_in_its_error(served, client):
    batch = create(client, PARQUET, "rows.parquet", PROMPT)
    run(served, batch.id)
    ended = client.batches.retrieve(batch.id)
    assert (ended.request_counts.total, ended.request_counts.failed) == (6, 2)
    errors = client.files.content(ended.error_file_id).text.splitlines()
    message = json.loads(errors[0])["response"]["body"]["error"]["message"]
    assert message == "row 2: the prompt: `question` is null"


def test_a_template_and_a_filter_apply_to_the_rows(served, client):
    template = {
        "messages": [{"role": "user", "content": "{{ question }}"}],
        "max_tokens": 5,
    }
    rows = {"template": template, "where": "id != 'b'", "limit": 1}
    batch = create(client, PARQUET, "rows.parquet", rows)
    run(served, batch.id)
    assert client.batches.retrieve(batch.id).request_counts.total == 1


@pytest.mark.parametrize(
    ("rows", "param", "words"),
    [
        ({"prompt": "{{ quest }}"}, "rows", "did you mean `question`?"),
        ({"prompt": "{% if %}"}, "rows", "the prompt is invalid"),
        ({"prompt": "a", "prompt_column": "id"}, "rows", "both give the messages"),
        ({}, "rows", "nothing says what to ask"),
        ({"prompt": "a", "id_column": "key"}, "rows", "names `key`"),
        ({"prompt": "a", "samples": 0}, "rows.samples", "greater than or equal to 1"),
        ({"prompt": "a", "samplez": 2}, "rows.samplez", ""),
        ({"prompt": "a", "where": "lang = "}, "rows", ""),
    ],
)
def test_rows_that_do_not_fit_are_refused(served, client, rows, param, words):
    before = served.stored()
    with pytest.raises(BadRequestError) as caught:
        create(client, PARQUET, "rows.parquet", rows)
    assert caught.value.param == param
    assert words in caught.value.message
    made = [key for key in served.stored() if key not in before]
    assert not [key for key in made if "/batches/" in key]


def test_a_damaged_table_is_refused(client):
    with pytest.raises(BadRequestError) as caught:
        create(client, b"PAR1" + bytes(99), "rows.parquet", {"prompt": "a"})
    assert caught.value.param == "input_file_id"
    assert "`rows.parquet`" in caught.value.message


@pytest.mark.parametrize(("limit", "status"), [(len(JSONL), 400), (5, 200)])
def test_text_is_checked_at_once_if_it_is_short(served, monkeypatch, limit, status):
    monkeypatch.setattr(row_batches, "_MAX_TEXT_BYTES", limit)
    file_id = served.upload(JSONL)
    response = served.create(file_id, model="m", rows={"prompt": "{{ unknown }}"})
    assert response.status_code == status
    if status == 200:
        batch_id = response.json()["id"]
        Hand(served.storage).make_plan(batch_id)
        batch = served.client.get(f"/v1/batches/{batch_id}").json()
        assert batch["status"] == "failed"
        [problem] = batch["errors"]["data"]
        assert "`unknown`" in problem["message"]


def test_samples_count_towards_the_largest_batch(serve):
    served = serve(max_batch_requests=5)
    response = served.create(served.upload(PARQUET), model="m", rows=PROMPT)
    assert response.status_code == 400
    assert "6 requests" in error_of(response)["message"]


def test_the_commands_submit_rows_to_a_server(served, tmp_path):
    (tmp_path / "rows.parquet").write_bytes(PARQUET)
    command = Path(sys.executable).with_name("batchchat")
    wish = ["rows.parquet", "--prompt={{ question }}", "--model=m", "--no-wait"]
    done = subprocess.run(
        [command, "submit", *wish, "--samples=2"],
        cwd=tmp_path,
        env={"BATCHCHAT_URL": served.url, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run(served, done.stdout.strip())
    batch = served.client.get(f"/v1/batches/{done.stdout.strip()}").json()
    assert batch["request_counts"] == {"total": 6, "completed": 4, "failed": 2}
