"""Batches that are created with `reuse`, which extends OpenAI's API."""

import pytest

from tests.api.api_server import ApiServer, error_of
from tests.support.ended import Hand, whole

DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(3))


@pytest.fixture
def ended(served):
    """The id of an ended batch."""
    return Hand(served.storage).ended(DATA).batch.id


def created(served, **fields):
    response = served.create(served.upload(DATA), model="m", **fields)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("how", ["auto", "ids"])
def test_a_batch_reuses_what_it_names(served, ended, how):
    batch = created(served, reuse="auto" if how == "auto" else [ended])
    assert batch["reuse"] == [ended]
    assert batch["seed"] == 1
    assert batch["reused_requests"] == 0
    stored = Hand(served.storage).ledger.batch(batch["id"])
    assert not stored.reuse_across_engines


@pytest.mark.parametrize(
    "fields", [{}, {"reuse": None}, {"reuse": "none"}, {"reuse": []}]
)
@pytest.mark.usefixtures("ended")
def test_a_batch_reuses_nothing_unless_it_asks_for_it(served, fields):
    assert created(served, **fields)["reuse"] == []


def test_a_server_may_reuse_by_default():
    served = ApiServer(reuse="auto")
    ended = Hand(served.storage).ended(DATA).batch.id
    try:
        assert created(served)["reuse"] == [ended]
        assert created(served, reuse="none", seed=7)["reuse"] == []
    finally:
        served.close()


def test_answers_of_other_engines_are_reused_only_if_asked_for(served, ended):
    batch = created(served, reuse=[ended], reuse_across_engines=True)
    stored = Hand(served.storage).ledger.batch(batch["id"])
    assert stored.reuse_across_engines


@pytest.mark.parametrize(
    ("reuse", "status"),
    [
        (["batch_1"], 404),
        ([f"batch_{0:032x}"], 404),
        (["auto", "none"], 400),
        ("latest", 400),
        ([1], 400),
        (["x"] * 101, 400),
    ],
    ids=str,
)
def test_an_invalid_reuse_is_an_error_of_that_field(served, reuse, status):
    response = served.create(served.upload(DATA), model="m", reuse=reuse)
    assert response.status_code == status
    assert error_of(response)["param"].startswith("reuse")
    assert served.client.get("/v1/batches").json()["data"] == []


def test_a_running_batch_can_not_be_reused(served):
    running = created(served)["id"]
    response = served.create(served.upload(DATA), model="m", reuse=[running])
    assert response.status_code == 409
    assert error_of(response)["param"] == "reuse"
