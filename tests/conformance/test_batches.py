"""/v1/batches with OpenAI's Python clients and a real engine."""

import pytest
from openai import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)
from openai.types import Batch

from tests.conformance.stories import (
    BODY_ERRORS,
    GOOD,
    LONG,
    URL,
    WRONG,
    jsonl,
    lines_of,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def file(client):
    return client.files.create(file=("in.jsonl", jsonl(*GOOD)), purpose="batch")


def create(api, file, **options):
    asked = {"input_file_id": file.id, "endpoint": URL, "completion_window": "24h"}
    return api(api.client.batches.create, **(asked | options))


def test_a_new_batch_has_the_requested_options(api, file, now):
    batch = create(api, file, metadata={"team": "blue"})
    assert (batch.object, batch.endpoint) == ("batch", URL)
    assert (batch.input_file_id, batch.completion_window) == (file.id, "24h")
    assert batch.metadata == {"team": "blue"}
    assert batch.status in {"validating", "in_progress", "finalizing", "completed"}
    assert abs(batch.created_at - now) < 60
    assert batch.expires_at == batch.created_at + 86_400


def test_an_ended_batch_has_counts_files_and_times(api, stories):
    batch = api(api.client.batches.retrieve, stories.mixed.id)
    assert batch.status == "completed"
    assert batch.request_counts.to_dict() == {"total": 7, "completed": 6, "failed": 1}
    times = [batch.created_at, batch.in_progress_at, batch.finalizing_at]
    times.append(batch.completed_at)
    assert times == sorted(times)
    others = (batch.failed_at, batch.expired_at, batch.cancelling_at)
    assert (*others, batch.cancelled_at, batch.errors) == (None,) * 5
    assert batch.model == "demo"


def test_every_request_has_one_result_in_input_order(client, stories):
    output = lines_of(client, stories.mixed.output_file_id)
    errors = lines_of(client, stories.mixed.error_file_id)
    assert [one["custom_id"] for one in output] == [one["custom_id"] for one in GOOD]
    assert [one["custom_id"] for one in errors] == ["invalid"]


def test_a_result_is_a_chat_completion(client, stories):
    response = lines_of(client, stories.mixed.output_file_id)[0]
    assert response["id"].startswith("batch_req_")
    assert response["error"] is None
    assert response["response"]["status_code"] == 200
    assert response["response"]["request_id"]
    body = response["response"]["body"]
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["usage"]["completion_tokens"] == 8


def test_an_invalid_request_has_its_error_in_the_response_body(client, stories):
    [refused] = lines_of(client, stories.mixed.error_file_id)
    assert refused["error"] is None
    assert refused["response"]["status_code"] == 400
    assert refused["response"]["body"]["error"]["code"] == "invalid_value"


def test_errors_of_bodies_are_lines_with_status_400_and_good_requests_run(
    client, stories
):
    batch = stories.wrong_bodies
    assert (batch.status, batch.errors) == ("completed", None)
    assert batch.request_counts.failed == len(WRONG)
    assert len(lines_of(client, batch.output_file_id)) == len(GOOD)
    errors = lines_of(client, batch.error_file_id)
    assert [one["custom_id"] for one in errors] == [*BODY_ERRORS]
    for one, (param, code, _) in zip(errors, BODY_ERRORS.values(), strict=True):
        assert (one["error"], one["response"]["status_code"]) == (None, 400)
        error = one["response"]["body"]["error"]
        assert (error["param"], error["code"]) == (param, code)
        assert error["type"] == "invalid_request_error"


def test_the_usage_of_a_batch_is_the_sum_of_its_results(api, client, stories):
    usage = api(api.client.batches.retrieve, stories.mixed.id).usage
    output = lines_of(client, stories.mixed.output_file_id)
    parts = [one["response"]["body"]["usage"] for one in output]
    assert usage.input_tokens == sum(part["prompt_tokens"] for part in parts)
    assert usage.output_tokens == sum(part["completion_tokens"] for part in parts)
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def test_a_batch_in_which_every_request_failed_is_completed(api, stories):
    batch = api(api.client.batches.retrieve, stories.all_failed.id)
    assert batch.status == "completed"
    total = 1 + len(WRONG)
    counts = {"total": total, "completed": 0, "failed": total}
    assert batch.request_counts.to_dict() == counts
    assert (batch.output_file_id, batch.errors) == (None, None)
    assert batch.usage.total_tokens == 0
    assert batch.error_file_id is not None


def test_an_invalid_input_fails_with_errors(api, stories):
    batch = api(api.client.batches.retrieve, stories.invalid.id)
    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert batch.output_file_id is batch.error_file_id is None
    assert batch.errors.object == "list"
    assert {error.line for error in batch.errors.data} == {2, 3}
    assert "duplicate_custom_id" in {error.code for error in batch.errors.data}


def test_invalid_lines_can_be_skipped(client, stories):
    batch = stories.skipped
    counts = {"total": 3, "completed": 1, "failed": 2}
    assert batch.request_counts.to_dict() == counts
    assert len(lines_of(client, batch.output_file_id)) == 1
    assert len(lines_of(client, batch.error_file_id)) == 2


def test_a_seed_makes_a_batch_repeatable(client, stories):
    texts = [
        [
            one["response"]["body"]["choices"][0]["message"]["content"]
            for one in lines_of(client, batch.output_file_id)
        ]
        for batch in (stories.seeded, stories.seeded_again)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 4


def test_the_output_can_expire(api, stories):
    file = api(api.client.files.retrieve, stories.kept_briefly.output_file_id)
    assert file.purpose == "batch_output"
    assert file.expires_at == file.created_at + 7_200


def test_a_cancelled_batch_keeps_finished_results(api, client, stories):
    batch = api(api.client.batches.retrieve, stories.cancelled.id)
    assert batch.status == "cancelled"
    assert batch.cancelling_at <= batch.cancelled_at
    assert batch.request_counts.total == len(LONG)
    assert batch.request_counts.failed == 0
    never_run = lines_of(client, batch.error_file_id)
    assert len(never_run) == len(LONG) - batch.request_counts.completed
    assert {one["error"]["code"] for one in never_run} == {"batch_cancelled"}
    assert {one["response"] for one in never_run} == {None}


def test_cancelling_twice_is_not_an_error(api, stories):
    assert api(api.client.batches.cancel, stories.cancelled.id).status == "cancelled"


def test_cancelling_a_completed_batch_is_a_conflict_that_is_not_retried(api, stories):
    with pytest.raises(ConflictError) as caught:
        api(api.client.batches.cancel, stories.mixed.id)
    message = "Cannot cancel a batch with status 'completed'."
    assert caught.value.message.endswith(message)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_auto_paging_yields_250_batches_once_each_newest_first(api, many):
    listed = [batch.id for batch in api.all(api.client.batches.list())]
    assert listed == sorted(set(listed), reverse=True)
    assert set(many) <= set(listed)


@pytest.mark.usefixtures("many")
def test_a_page_has_has_more(api):
    page = api(api.client.batches.list, limit=100)
    assert (len(page.data), page.has_more) == (100, True)
    assert page.object == "list"
    assert page.last_id == page.data[-1].id


def test_a_page_begins_after_the_given_id(api, many):
    page = api(api.client.batches.list, limit=5, after=many[100])
    assert [batch.id for batch in page.data] == many[99:94:-1]


@pytest.mark.usefixtures("many")
def test_the_last_page_has_no_more(api):
    oldest = min(batch.id for batch in api.all(api.client.batches.list()))
    page = api(api.client.batches.list, after=oldest)
    assert (page.data, page.has_more) == ([], False)


@pytest.mark.parametrize("limit", [0, 101])
def test_the_page_size_is_limited(api, limit):
    with pytest.raises(BadRequestError) as caught:
        api(api.client.batches.list, limit=limit)
    assert caught.value.param == "limit"


@pytest.mark.parametrize("batch_id", [f"batch_{'0' * 32}", "batch_abc123", "..%2f.."])
def test_an_unknown_batch_is_not_found(api, batch_id):
    with pytest.raises(NotFoundError):
        api(api.client.batches.retrieve, batch_id)
    with pytest.raises(NotFoundError):
        api(api.client.batches.cancel, batch_id)


def test_an_unknown_input_file_is_not_found(api, file):
    with pytest.raises(NotFoundError) as caught:
        create(api, file, input_file_id=f"file_{'0' * 32}")
    assert caught.value.param == "input_file_id"


def test_an_input_file_of_another_purpose_is_rejected(api):
    data = ("a.jsonl", jsonl(*GOOD))
    other = api(api.client.files.create, file=data, purpose="user_data")
    with pytest.raises(BadRequestError) as caught:
        create(api, other)
    assert caught.value.code == "invalid_file_purpose"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "/v1/embeddings"),
        ("completion_window", "31d"),
        ("metadata", {f"key-{n}": "" for n in range(17)}),
        ("metadata", {"key": "x" * 513}),
        ("output_expires_after", {"anchor": "created_at", "seconds": 3}),
        ("extra_body", {"seed": -1}),
        ("extra_body", {"seed": True}),
        ("extra_body", {"priority": "urgent"}),
        ("extra_body", {"on_invalid": "ignore"}),
        ("extra_body", {"priority_": "high"}),
    ],
)
def test_an_invalid_value_is_rejected_and_the_error_names_the_field(
    api, file, field, value
):
    with pytest.raises(BadRequestError) as caught:
        create(api, file, **{field: value})
    named = next(iter(value)) if field == "extra_body" else field
    assert (caught.value.param or "").split(".")[0] == named
    assert caught.value.type == "invalid_request_error"


def test_an_unknown_model_is_not_found(api, file):
    with pytest.raises(NotFoundError) as caught:
        create(api, file, extra_body={"model": "gpt-unknown"})
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


def test_the_error_names_a_missing_field(api):
    with pytest.raises(BadRequestError) as caught:
        api(api.client.post, "/batches", cast_to=Batch, body={"endpoint": URL})
    assert caught.value.code == "missing_required_parameter"
    assert caught.value.param == "input_file_id"


def test_the_same_idempotency_key_creates_one_batch(api, file):
    header = {"idempotency-key": f"key of {type(api).__name__}"}
    first, second = (create(api, file, extra_headers=header) for _ in range(2))
    assert first.id == second.id


def test_an_idempotency_key_cannot_be_reused_for_another_request(api, file):
    header = {"idempotency-key": f"another key of {type(api).__name__}"}
    create(api, file, extra_headers=header)
    with pytest.raises(UnprocessableEntityError) as caught:
        create(api, file, metadata={"a": "b"}, extra_headers=header)
    assert caught.value.code == "idempotency_key_reused"


def test_extension_fields_reach_the_client(api, stories):
    batch = api(api.client.batches.retrieve, stories.mixed.id)
    assert batch.estimated_cost > 0
    assert batch.engine_seconds > 0
    assert batch.retry_of is None
    assert next(iter(batch.engines.values()))["engine"].startswith("vllm")


def test_requests_that_never_ran_can_be_retried(api, client, stories):
    place = f"/batches/{stories.cancelled.id}/retry"
    again = api(api.client.post, place, cast_to=Batch)
    client.batches.cancel(again.id)
    assert again.retry_of == stories.cancelled.id
    lines = client.files.content(again.input_file_id).text.splitlines()
    assert len(lines) == len(LONG) - stories.cancelled.request_counts.completed


def test_results_can_be_read_incrementally(api, stories):
    place = f"/batches/{stories.mixed.id}/results"
    whole = api(api.client.get, place, cast_to=str).splitlines()
    rest = api(api.client.get, f"{place}?after=5", cast_to=str).splitlines()
    assert len(whole) == 7
    assert rest == whole[5:]
