"""Managing webhook endpoints."""

import pytest

from batchchat.jobs.webhooks.endpoints import EndpointStore
from tests.api.api_server import error_of


@pytest.fixture
def served(serve):
    return serve(webhooks_allow_private=True)


def test_a_project_has_at_most_20_endpoints(served):
    for _ in range(20):
        served.add_endpoint("https://example.com/")
    asked = {"name": "n", "url": "https://e.com/", "event_types": ["batch.failed"]}
    response = served.client.post("/v1/webhook_endpoints", json=asked)
    assert response.status_code == 400
    assert "20" in error_of(response)["message"]


def test_a_test_event_returns_the_endpoints_status_code(served, receiver):
    endpoint = served.add_endpoint(receiver.url)
    receiver.statuses = [418]
    place = f"/v1/webhook_endpoints/{endpoint['id']}/test"
    response = served.client.post(place, json={"event_type": "batch.failed"})
    assert response.json()["status_code"] == 418


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"name": "n", "url": "https://example.com", "event_types": []},
        {"name": "n", "url": "https://example.com", "event_types": ["batch.begun"]},
        {"name": "", "url": "https://example.com", "event_types": ["batch.failed"]},
        {"name": "n", "url": "nonsense", "event_types": ["batch.failed"]},
        {"name": "n", "url": "https://e.com", "event_types": ["batch.failed"], "x": 1},
    ],
)
def test_an_invalid_endpoint_is_rejected(served, asked):
    response = served.client.post("/v1/webhook_endpoints", json=asked)
    assert response.status_code == 400
    error_of(response)
    assert list(EndpointStore(served.context.ledger("default"))) == []
