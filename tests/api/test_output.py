"""Output formats and delivery of results, which extend OpenAI's API."""

from io import BytesIO

import pytest
from msgspec.structs import replace
from pyarrow import parquet

from batchchat.cli.backends.create_body import create_body
from batchchat.jobs.errors import StorageError
from batchchat.jobs.files.reused_batches import NONE
from batchchat.jobs.json_lines import encode as encode_json
from batchchat.jobs.ledger.records import DeliveryAttempt, encode
from batchchat.jobs.results.delivery import deliver
from batchchat.jobs.storage import MemoryStorage
from tests.api.api_server import LINE, error_of
from tests.support.batch_options import EVERY_OPTION, options_of
from tests.support.ended import Hand, whole

JSON = {"content-type": "application/json"}
DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(7))


@pytest.fixture
def hand(served):
    return Hand(served.storage, shard_requests=3)


def ended(served, hand, data=DATA, **fields):
    """Create a batch, run it to its end, and return its object."""
    batch_id = served.batch(data, **fields)
    hand.make_plan(batch_id)
    hand.run(batch_id)
    hand.finalize(batch_id)
    return served.client.get(f"/v1/batches/{batch_id}").json()


def content(served, file_id, **headers):
    return served.client.get(f"/v1/files/{file_id}/content", headers=headers)


def ids(data):
    return parquet.read_table(BytesIO(data))["custom_id"].to_pylist()


@pytest.mark.parametrize("formats", ["parquet", "both"])
def test_the_parquet_file_exists_besides_the_output_file(served, hand, formats):
    batch = ended(served, hand, output_format=formats)
    assert batch["output_format"] == formats
    table = content(served, batch["output_parquet_file_id"]).content
    assert ids(table) == [f"q-{n}" for n in range(7)]
    assert content(served, batch["output_file_id"]).content.count(b"\n") == 7


def test_by_default_there_is_no_parquet_file(served, hand):
    batch = ended(served, hand)
    assert batch["output_format"] == "jsonl"
    assert batch["output_parquet_file_id"] is None


def test_the_parquet_file_id_is_null_until_the_batch_has_ended(served):
    batch_id = served.batch(output_format="both")
    batch = served.client.get(f"/v1/batches/{batch_id}").json()
    assert batch["output_parquet_file_id"] is None


def test_the_parquet_file_can_be_listed_and_read_in_ranges(served, hand):
    file_id = ended(served, hand, output_format="both")["output_parquet_file_id"]
    listed = served.client.get("/v1/files", params={"purpose": "batch_output"}).json()
    [file] = [one for one in listed["data"] if one["id"] == file_id]
    assert file["filename"].endswith("_output.parquet")
    whole = content(served, file_id)
    assert len(whole.content) == file["bytes"]
    part = content(served, file_id, range="bytes=0-3")
    assert (part.status_code, part.content) == (206, b"PAR1")


def test_parquet_results_are_that_file_even_after_the_input_is_deleted(served, hand):
    batch = ended(served, hand, output_format="both")
    served.client.delete(f"/v1/files/{batch['input_file_id']}")
    place = f"/v1/batches/{batch['id']}/results?format=parquet"
    response = served.client.get(place)
    kept = content(served, batch["output_parquet_file_id"])
    assert response.content == kept.content
    assert response.headers["content-length"] == f"{len(kept.content)}"


def test_parquet_results_are_recreated_once_the_file_is_deleted(served, hand):
    batch = ended(served, hand, output_format="both")
    file_id = batch["output_parquet_file_id"]
    assert served.client.delete(f"/v1/files/{file_id}").json()["deleted"]
    assert content(served, file_id).status_code == 404
    place = f"/v1/batches/{batch['id']}/results?format=parquet"
    assert len(ids(served.client.get(place).content)) == 7


def test_the_parquet_file_expires(served, hand):
    kept = {"anchor": "created_at", "seconds": 3_600}
    batch = ended(served, hand, output_format="both", output_expires_after=kept)
    # the hand's clock is in 1970
    assert content(served, batch["output_parquet_file_id"]).status_code == 404


def test_a_retry_has_the_same_output_format(served, hand):
    batch_id = served.batch(DATA, output_format="both")
    hand.make_plan(batch_id)
    hand.finalize(batch_id, "expired")
    again = served.client.post(f"/v1/batches/{batch_id}/retry").json()
    assert again["output_format"] == "both"


@pytest.mark.parametrize("formats", ["csv", "", None, 1, ["jsonl"]])
def test_an_unknown_output_format_is_rejected(served, formats):
    response = served.create(served.upload(LINE), output_format=formats)
    assert response.status_code == 400
    assert error_of(response)["param"] == "output_format"


PREFIX = "s3://bucket/exports/{project}"


@pytest.fixture
def exporting(serve):
    return serve(output_prefixes=(PREFIX, "/srv/exports"))


def delivery(served, batch_id):
    return served.client.get(f"/v1/batches/{batch_id}").json()["delivery"]


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        ("s3://bucket/exports/default/", "s3://bucket/exports/default"),
        ("s3://bucket/exports/default/a/b", "s3://bucket/exports/default/a/b"),
        ("/srv/exports/a b/", "file:///srv/exports/a%20b"),
        ("file:///srv/exports", "file:///srv/exports"),
    ],
)
def test_an_output_below_an_allowed_prefix_is_accepted(exporting, asked, url):
    response = exporting.create(exporting.upload(), output=asked)
    assert response.json()["output"] == url
    pending: dict[str, object] = {
        "status": "pending",
        "ended_at": None,
        "files": [],
        "error": None,
    }
    assert response.json()["delivery"] == pending


TRICKS = [
    *(
        "s3://bucket/exports/other/",
        "s3://bucket/exports",
        "s3://bucket/exports/defaults",
    ),
    *(
        "s3://bucket/exports/default/../other",
        "s3://bucket/exports/default//x",
        "s3:/x",
    ),
    *("s3://bucket/exports/default/%2e%2e/x", "s3://key:secret@bucket/exports/default"),
    *("/srv/exports/../x", "/srv/exports2", "file:///srv/exports/%2e%2e/x", "/srv"),
    *("/srv/exports/\0", "/srv/exports/" + "x" * 2_000, "http://169.254.169.254/x", ""),
    *("exports", "~/x", "file://host/srv/exports", "S3://bucket/exports/default"),
]


@pytest.mark.parametrize("output", TRICKS)
def test_an_output_elsewhere_is_rejected_and_no_batch_is_created(exporting, output):
    response = exporting.create(exporting.upload(), output=output)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["param"], error["code"]) == ("output", "output_not_allowed")
    assert exporting.client.get("/v1/batches").json()["data"] == []


def test_a_malformed_output_error_shows_the_expected_form(exporting):
    response = exporting.create(exporting.upload(), output="s3:/bucket/exports/default")
    assert "such as `s3://bucket/prefix/`" in error_of(response)["message"]


def test_without_allowed_prefixes_the_error_names_the_setting(served):
    response = served.create(served.upload(), output="s3://bucket/x/")
    assert response.status_code == 400
    message = error_of(response)["message"]
    assert "'output'" in message
    assert "BATCHCHAT_OUTPUT_PREFIXES" in message


def test_an_output_that_is_not_a_string_is_rejected(exporting):
    response = exporting.create(exporting.upload(), output=1)
    assert error_of(response)["code"] == "invalid_type"


def test_a_project_placeholder_separates_projects(serve):
    served = serve(output_prefixes=(PREFIX,), loopback_only=False)
    keys = {name: served.key(name) for name in ("mine", "theirs")}
    asked = {"output": "s3://bucket/exports/mine/"}
    for name, status in (("mine", 200), ("theirs", 400)):
        file_id = served.upload(headers=keys[name])
        response = served.create(file_id, headers=keys[name], **asked)
        assert response.status_code == status


def test_without_an_output_there_is_no_delivery(served):
    response = served.create(served.upload()).json()
    assert response["output"] is response["delivery"] is None


def test_a_batch_with_invalid_input_has_no_delivery(exporting):
    asked = "s3://bucket/exports/default"
    batch_id = exporting.batch(b"no JSON\n", output=asked)
    Hand(exporting.storage).make_plan(batch_id)
    batch = exporting.client.get(f"/v1/batches/{batch_id}").json()
    assert (batch["status"], batch["delivery"]) == ("failed", None)


def test_the_delivery_of_a_batch_that_ended_long_ago_is_current(exporting):
    hand = Hand(exporting.storage)  # its clock is in 1970
    batch = ended(exporting, hand, output="s3://bucket/exports/default")
    assert batch["status"] == "completed"
    ledger, target = exporting.context.ledger("default"), MemoryStorage()
    with pytest.raises(StorageError):
        deliver(ledger, ledger.state(batch["id"]), unreachable)
    keys = ledger.keys.batch(batch["id"])
    exporting.storage.put(
        keys.delivery_attempt, encode(DeliveryAttempt(1, 1, "unreachable", 2))
    )
    assert delivery(exporting, batch["id"])["error"] == "unreachable"
    deliver(ledger, ledger.state(batch["id"]), lambda _: target)
    done = delivery(exporting, batch["id"])
    assert (done["status"], done["error"]) == ("completed", None)
    assert done["files"] == [f"memory:///{batch['id']}_output.jsonl"]
    kept = content(exporting, batch["output_file_id"]).content
    assert target.get(f"{batch['id']}_output.jsonl") == kept


def unreachable(_):
    raise StorageError("unreachable")


def test_a_retry_has_the_same_output(exporting):
    batch_id = exporting.batch(DATA, output="s3://bucket/exports/default")
    hand = Hand(exporting.storage)
    hand.make_plan(batch_id)
    hand.finalize(batch_id, "expired")
    again = exporting.client.post(f"/v1/batches/{batch_id}/retry").json()
    assert again["output"] == "s3://bucket/exports/default"


LOCAL = ("retry_of", "prompt_time", "output", "merge", "rows_of", "reuse", "engine")
"""Options that a retry sets, or that creating a batch or the command line resolves."""


ROWS = b"".join(b'{"id": %d, "question": "text"}\n' % n for n in range(7))


def test_every_option_of_the_command_line_reaches_the_batch(exporting):
    file_id = exporting.upload(ROWS)
    asked = replace(EVERY_OPTION, reuse=(NONE,), engine={})
    body = encode_json(create_body(file_id, asked))
    created = exporting.client.post("/v1/batches", content=body, headers=JSON).json()
    batch = Hand(exporting.storage).ledger.batch(created["id"])
    assert options_of(batch, *LOCAL) == options_of(EVERY_OPTION, *LOCAL)


def test_every_option_survives_a_retry(exporting):
    file_id = exporting.upload(ROWS)
    asked = replace(EVERY_OPTION, reuse=(NONE,), engine={})
    body = encode_json(create_body(file_id, asked))
    batch_id = exporting.client.post("/v1/batches", content=body, headers=JSON).json()[
        "id"
    ]
    hand = Hand(exporting.storage)
    hand.make_plan(batch_id)
    hand.finalize(batch_id, "expired")
    again = exporting.client.post(f"/v1/batches/{batch_id}/retry").json()
    retried = hand.ledger.batch(again["id"])
    changed = (*LOCAL, "rows")  # the input of a retry holds requests
    assert options_of(retried, *changed) == options_of(EVERY_OPTION, *changed)
    assert retried.retry_of == batch_id
