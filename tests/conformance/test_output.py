"""Output formats and delivery, requested with OpenAI's clients in `extra_body`."""

from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from openai import BadRequestError
from pyarrow import parquet

from tests.conformance.stories import GOOD, URL, jsonl
from tests.support.servers.s3_server import BUCKET
from tests.support.wait import wait_until

pytestmark = pytest.mark.engine

TIMEOUT_SECONDS = 120.0
PREFIX = "exports/default/nightly"


def create(client, **extra):
    file = client.files.create(file=("in.jsonl", jsonl(*GOOD)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id,
        endpoint=URL,
        completion_window="24h",
        extra_body=extra,
    )


def delivered(client, batch_id):
    """Return the batch once it has ended and its results are delivered."""

    def delivered():
        batch = client.batches.retrieve(batch_id)
        is_tried = batch.status == "completed" and batch.delivery["status"] != "pending"
        return batch if is_tried else None

    return wait_until(delivered, "a delivery", seconds=TIMEOUT_SECONDS)


@pytest.fixture(scope="session")
def batches(client, exports):
    """A batch delivered to a folder, and one delivered to a bucket."""
    folder = create(client, output=f"{exports}/nightly/", output_format="both")
    bucket = create(client, output=f"s3://{BUCKET}/{PREFIX}/", output_format="parquet")
    return {
        "folder": delivered(client, folder.id),
        "bucket": delivered(client, bucket.id),
    }


@pytest.fixture
def read(moto):
    """Read the content of a URL, from the disk or from the bucket."""

    def get(url):
        parts = urlsplit(url)
        if parts.scheme == "file":
            return Path(parts.path).read_bytes()
        found = moto.client.get_object(Bucket=parts.netloc, Key=parts.path[1:])
        return found["Body"].read()

    return get


def rows(data):
    return parquet.read_table(BytesIO(data)).to_pylist()


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_the_parquet_file_has_every_result(api, client, batches, where):
    batch = api(api.client.batches.retrieve, batches[where].id)
    file = api(api.client.files.retrieve, batch.output_parquet_file_id)
    table = client.files.content(file.id).content
    assert file.bytes == len(table)
    assert [row["custom_id"] for row in rows(table)] == [
        one["custom_id"] for one in GOOD
    ]
    assert all(row["messages"][-1]["role"] == "assistant" for row in rows(table))


def test_the_output_file_stays_jsonl(client, batches):
    for batch in batches.values():
        text = client.files.content(batch.output_file_id).text
        assert text.count("\n") == len(GOOD)


def test_both_formats_are_delivered_to_the_folder(client, batches, exports, read):
    batch = batches["folder"]
    delivery = batch.delivery
    assert (delivery["status"], delivery["error"]) == ("completed", None)
    output, table = delivery["files"]
    assert read(output) == client.files.content(batch.output_file_id).content
    kept = client.files.content(batch.output_parquet_file_id).content
    assert read(table) == kept
    names = sorted(path.name for path in (exports / "nightly").iterdir())
    assert names == [f"{batch.id}_output.jsonl", f"{batch.id}_output.parquet"]


def test_only_parquet_is_delivered_to_the_bucket(client, batches, moto, read):
    batch = batches["bucket"]
    listed = moto.client.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX)["Contents"]
    key = f"{PREFIX}/{batch.id}_output.parquet"
    assert [one["Key"] for one in listed] == [key]
    [url] = batch.delivery["files"]
    assert url == f"s3://{BUCKET}/{key}"
    kept = client.files.content(batch.output_parquet_file_id).content
    assert read(url) == kept


@pytest.mark.parametrize(
    "output", ["s3://bucket/elsewhere/", "s3://bucket/exports/default/../x", "/etc"]
)
def test_an_output_that_is_not_allowed_is_rejected(client, output):
    with pytest.raises(BadRequestError) as caught:
        create(client, output=output)
    assert caught.value.param == "output"
    assert "BATCHCHAT_OUTPUT_PREFIXES" in caught.value.message or ".." in output
