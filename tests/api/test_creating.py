"""Creating batches exactly once, despite retries and interruptions."""

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from msgspec.structs import replace

from batchchat.jobs.errors import StorageError
from batchchat.jobs.files.files import Files
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.storage import MemoryStorage
from tests.api.api_server import error_of
from tests.support.ended import MODEL

RETRY = {"x-stainless-retry-count": "1"}
FIRST = {"x-stainless-retry-count": "0"}


def ids(served):
    return [one["id"] for one in served.client.get("/v1/batches").json()["data"]]


def test_a_new_batch_is_listed_as_active(served):
    batch_id = served.batch()
    assert list(ActiveIndex(served.storage)) == [("default", batch_id)]


def test_identical_requests_within_ten_seconds_create_one_batch(served):
    file_id = served.upload()
    first, second = (served.create(file_id, metadata={"a": "b"}) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert len(ids(served)) == 1


def test_different_requests_create_different_batches(served):
    file_id = served.upload()
    first, second = (served.create(file_id, metadata={"n": n}) for n in "12")
    assert first.json()["id"] != second.json()["id"]


def test_identical_requests_after_ten_seconds_create_two_batches(serve):
    now = [1_000.0]
    served = serve(clock=lambda: now[0])
    file_id = served.upload()
    first = served.create(file_id).json()["id"]
    now[0] += 11
    assert served.create(file_id).json()["id"] != first


def test_a_first_attempt_always_creates_a_batch(served):
    file_id = served.upload()
    first, second = (served.create(file_id, headers=FIRST) for _ in range(2))
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.parametrize("retry_count", ["9" * 5_000, "12345", "-1", "²", "x", ""])
def test_an_invalid_retry_count_is_ignored(served, retry_count):
    file_id = served.upload()
    headers = {b"x-stainless-retry-count": retry_count.encode()}
    first, second = (served.create(file_id, headers=headers) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]


def test_a_retry_within_15_minutes_returns_the_same_batch(serve):
    now = [1_000.0]
    served = serve(clock=lambda: now[0])
    file_id = served.upload()
    first = served.create(file_id, headers=FIRST).json()["id"]
    now[0] += 600
    assert served.create(file_id, headers=RETRY).json()["id"] == first
    now[0] += 600
    assert served.create(file_id, headers=RETRY).json()["id"] != first


def test_an_idempotency_key_is_valid_for_24_hours(serve):
    now = [1_000.0]
    served = serve(clock=lambda: now[0])
    key = {"idempotency-key": "mine"}
    file_id = served.upload()
    first = served.create(file_id, headers=key).json()["id"]
    now[0] += 86_000
    assert served.create(file_id, headers=key).json()["id"] == first
    now[0] += 1_000
    assert served.create(file_id, headers=key).json()["id"] != first


def test_an_idempotency_key_cannot_be_reused_for_another_request(served):
    key = {"idempotency-key": "mine"}
    file_id = served.upload()
    served.create(file_id, headers=key)
    response = served.create(file_id, headers=key, seed=1)
    assert response.status_code == 422
    assert error_of(response)["code"] == "idempotency_key_reused"
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_idempotency_key_has_a_limited_length(served, key):
    response = served.create(served.upload(), headers={"idempotency-key": key})
    assert response.status_code == 400
    error_of(response)


def test_concurrent_identical_requests_create_one_batch(served):
    file_id = served.upload()
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: served.create(file_id), range(8)))
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(ids(served)) == 1


class InterruptedStorage(MemoryStorage):
    """Fails from the nth write on, until `left` is raised again."""

    left = 10**9

    def _write(self):
        self.left -= 1
        if self.left < 0:
            raise StorageError("interrupted")

    def create(self, key, data):
        self._write()
        return super().create(key, data)

    def put(self, key, data):
        self._write()
        super().put(key, data)


@pytest.mark.parametrize("writes", range(5))
@pytest.mark.parametrize("key", [None, "mine"])
def test_an_interrupted_create_lists_nothing_and_can_be_repeated(serve, writes, key):
    storage = InterruptedStorage()
    served = serve(storage)
    file_id = served.upload()
    headers = {"idempotency-key": key} if key else None
    storage.left = writes
    interrupted = served.create(file_id, headers=headers)
    storage.left = 10**9
    listed = ids(served)
    assert listed == [] if interrupted.status_code != 200 else len(listed) == 1
    again = served.create(file_id, headers=headers)
    assert ids(served) == [again.json()["id"]]
    assert again.json()["status"] == "validating"
    assert ("default", again.json()["id"]) in list(ActiveIndex(storage))


def test_an_unreachable_storage_is_a_503_with_retry_after(serve):
    storage = InterruptedStorage()
    served = serve(storage)
    file_id = served.upload()
    storage.left = 0
    response = served.create(file_id)
    assert response.status_code == 503
    assert error_of(response)["type"] == "server_error"
    assert int(response.headers["retry-after"]) > 0


def test_all_options_are_stored_in_the_batch(served):
    fields = {
        "seed": 5,
        "priority": "high",
        "on_invalid": "skip",
        "completion_window": "7d",
        "max_cost": 0.5,
        "output_expires_after": {"anchor": "created_at", "seconds": 3_600},
    }
    response = served.create(served.upload(), **fields).json()
    batch = served.context.ledger("default").batch(response["id"])
    assert (batch.seed, batch.priority, batch.on_invalid) == (5, "high", "skip")
    assert batch.expires_at - batch.created_at == 604_800
    assert batch.output_expires_after == 3_600
    assert batch.max_cost == Decimal("0.5")
    assert (response["max_cost"], response["cancel_reason"]) == (0.5, None)


@pytest.mark.parametrize("setting", ["openai", "fail", "skip"])
def test_the_server_chooses_which_lines_fail_a_batch_unless_the_request_does(
    serve, setting
):
    served = serve(on_invalid=setting)
    ledger, file_id = served.context.ledger("default"), served.upload()
    for asked, stored in ((None, setting), ("openai", "openai"), ("fail", "fail")):
        batch_id = served.create(file_id, on_invalid=asked).json()["id"]
        assert ledger.batch(batch_id).on_invalid == stored


def test_only_catalog_models_are_accepted_not_server_paths(served, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({}))
    for name in (str(tmp_path), "org/name"):
        response = served.create(served.upload(), model=name)
        assert response.status_code == 404
        assert error_of(response)["code"] == "model_not_found"


def test_the_input_of_an_unfinished_batch_cannot_be_deleted(served):
    file_id = served.upload()
    served.create(file_id)
    response = served.client.delete(f"/v1/files/{file_id}")
    assert response.status_code == 409
    assert served.client.get(f"/v1/files/{file_id}").status_code == 200


def test_a_deleted_file_cannot_be_an_input(served):
    file_id = served.upload()
    served.client.delete(f"/v1/files/{file_id}")
    response = served.create(file_id)
    assert response.status_code == 404
    assert error_of(response)["param"] == "input_file_id"


def test_an_expired_file_and_its_content_are_removed(serve):
    now = [1_000.0]
    served = serve(clock=lambda: now[0])
    response = served.client.post(
        "/v1/files",
        files={"file": ("a.jsonl", b"{}")},
        data={
            "purpose": "batch",
            "expires_after[anchor]": "created_at",
            "expires_after[seconds]": "3600",
        },
    )
    file_id = response.json()["id"]
    now[0] += 3_599
    assert served.client.get(f"/v1/files/{file_id}").status_code == 200
    now[0] += 1
    assert served.client.get(f"/v1/files/{file_id}").status_code == 404
    assert served.client.get("/v1/files").json()["data"] == []
    assert served.create(file_id).status_code == 404
    Files(served.context.ledger("default")).sweep()
    assert not [key for key in served.stored() if key.endswith("/content")]


def test_a_model_whose_engine_cannot_start_is_refused_where_batches_run(serve):
    impossible = replace(MODEL, engine={"tensor_parallel_size": 0})
    refused = serve(model=impossible)
    response = refused.create(refused.upload(), model="m")
    assert response.status_code == 400
    error = error_of(response)
    assert error["param"] == "model"
    assert "`tensor_parallel_size` must be at least 1" in error["message"]
    assert ids(refused) == []
    simulated = serve(model=impossible, simulated_tokens_per_second=1)
    assert simulated.batch()
    cluster = serve(model=impossible, broker="redis://localhost:1/0")
    assert cluster.create(cluster.upload(), model="m").status_code == 200
