"""DELETE /v1/batches/{id}."""

import pytest

from batchchat.api.routes import create_batch
from batchchat.jobs.access.idempotency import reserve
from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.ledger.ledger import Ledger
from tests.api.api_server import LINE, error_of
from tests.support.ended import Hand


@pytest.fixture
def served(serve):
    return serve()


def end(served, batch_id, project="default"):
    """Run a batch that was created through the API to its end."""
    hand = Hand(served.storage, project=project)
    hand.make_plan(batch_id)
    hand.run(batch_id)
    return hand.finalize(batch_id)


def test_an_ended_batch_is_deleted_with_its_files(served):
    file_id = served.upload()
    batch_id = served.create(file_id, model="m").json()["id"]
    output = end(served, batch_id).final.output_file_id
    place = f"/v1/batches/{batch_id}"
    assert served.client.get(place).status_code == 200  # and is cached now
    planned = served.client.delete(place, params={"dry_run": "true"}).json()
    assert planned["deleted"] is False
    done = served.client.delete(place)
    assert done.status_code == 200
    assert done.json() == planned | {"deleted": True}
    assert done.json()["objects"] > 5
    assert done.json()["bytes"] > len(LINE)
    for path in (place, f"/v1/files/{file_id}", f"/v1/files/{output}/content"):
        assert served.client.get(path).status_code == 404
    assert served.client.get("/v1/batches").json()["data"] == []
    assert served.client.get("/v1/files").json()["data"] == []
    assert error_of(served.client.delete(place))["code"] == "not_found"


def test_the_input_file_is_kept_on_request(served):
    file_id = served.upload()
    batch_id = served.create(file_id, model="m").json()["id"]
    end(served, batch_id)
    place = f"/v1/batches/{batch_id}"
    done = served.client.delete(place, params={"keep_input": "true"})
    assert done.json()["input_kept"] is True
    assert served.client.get(f"/v1/files/{file_id}/content").content == LINE
    assert served.create(file_id, model="m").status_code == 200


def test_a_batch_that_has_not_ended_is_not_deleted(served):
    batch_id = served.batch()
    response = served.client.delete(f"/v1/batches/{batch_id}")
    assert response.status_code == 409
    assert "validating" in error_of(response)["message"]
    assert served.client.get(f"/v1/batches/{batch_id}").status_code == 200


def test_a_batch_that_another_process_deletes_is_not_found(served, monkeypatch):
    batch_id = served.batch()
    end(served, batch_id)
    place = f"/v1/batches/{batch_id}"
    monkeypatch.setattr("batchchat.api.batch_view._SETTLE_SECONDS", -1e9)
    monkeypatch.setattr("batchchat.api.batch_view._CHECK_SECONDS", 0.0)
    for _ in range(2):
        assert served.client.get(place).status_code == 200
    Deleter(Ledger(served.storage, "default")).delete(batch_id)
    assert served.client.get(place).status_code == 404
    assert served.client.get("/v1/batches").json()["data"] == []
    assert served.client.get(f"{place}/results").status_code == 404


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "mine"}])
def test_the_same_request_after_a_deletion_makes_another_batch(served, headers):
    file_id = served.upload()
    first = served.create(file_id, model="m", headers=headers).json()["id"]
    end(served, first)
    place = f"/v1/batches/{first}"
    served.client.delete(place, params={"keep_input": "true"}).raise_for_status()
    again = served.create(file_id, model="m", headers=headers).json()["id"]
    assert again != first
    assert served.create(file_id, model="m", headers=headers).json()["id"] == again


def test_a_batch_that_is_deleted_while_its_request_is_repeated_is_not_revived(
    served, monkeypatch
):
    file_id = served.upload()
    headers = {"idempotency-key": "mine"}
    first = served.create(file_id, model="m", headers=headers).json()["id"]
    end(served, first)

    def reserve_then_delete(ledger, *args, **kwargs):
        reservation = reserve(ledger, *args, **kwargs)
        if reservation.is_replay:
            Deleter(ledger).delete(first, keep_input=True)
        return reservation

    monkeypatch.setattr(create_batch, "reserve", reserve_then_delete)
    response = served.create(file_id, model="m", headers=headers)
    assert response.status_code == 200, response.text
    assert response.json()["id"] != first
    assert served.client.get(f"/v1/batches/{first}").status_code == 404


def test_the_cost_of_a_deleted_batch_counts_for_its_day(serve):
    served = serve(projects={"default": {"max_daily_cost": 1}})
    batch_id = served.batch(max_cost=1)
    final = end(served, batch_id).final
    assert final.estimated_cost > 0
    served.client.delete(f"/v1/batches/{batch_id}").raise_for_status()
    served.context.ended_costs.clear()
    response = served.create(served.upload(), model="m", max_cost=1)
    assert response.status_code == 429
    assert "max_daily_cost" in error_of(response)["message"]


def test_pending_events_of_a_deleted_batch_are_dropped(served):
    served.add_endpoint("https://example.com/hook")
    batch_id = served.batch()
    end(served, batch_id)
    assert [key for key in served.stored() if key.startswith("outbox/")]
    served.client.delete(f"/v1/batches/{batch_id}").raise_for_status()
    assert not [key for key in served.stored() if key.startswith("outbox/")]
