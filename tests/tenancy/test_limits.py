"""No project exceeds its limits, on whichever server its requests arrive."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from batchchat.jobs.ledger.active_index import ActiveBatch, ActiveIndex
from batchchat.jobs.project_rules import ProjectRules, rules_of
from batchchat.jobs.storage import MemoryStorage
from tests.api.api_server import LINE, ApiServer, error_of
from tests.support.ended import Hand, whole


@pytest.fixture
def serve():
    """Start servers that limit each project, and end them with the test."""
    started = []

    def start(storage=None, **limits):
        rules = {"*": ProjectRules(**limits)}
        started.append(ApiServer(storage, projects=rules))
        return started[-1]

    yield start
    for server in started:
        server.close()


def create(server, headers, lines=1, **fields):
    file_id = server.upload(LINE * lines, headers=headers)
    return server.create(file_id, headers=headers, model="m", **fields)


def assert_limited(response, status, limit):
    assert response.status_code == status, response.text
    error = error_of(response)
    assert error["code"] == "limit_exceeded"
    assert f"`{limit}`" in error["message"]
    assert response.headers["x-should-retry"] == "false"


def test_unfinished_batches_are_limited(serve):
    server = serve(max_open_batches=2)
    one, two = server.key("one"), server.key("two")
    first = create(server, one).json()["id"]
    assert create(server, one).status_code == 200
    assert_limited(create(server, one), 429, "max_open_batches")
    assert create(server, two).status_code == 200
    ActiveIndex(server.storage).remove("one", first)
    assert create(server, one).status_code == 200


@pytest.mark.parametrize("limits", [{"max_open_batches": 1}, {"max_open_requests": 6}])
def test_ended_batches_that_wait_for_their_destination_do_not_count(serve, limits):
    server = serve(**limits)
    one = server.key("one")
    hand = Hand(server.storage, project="one")
    state = hand.ended(whole("a", "x") + b"\n", destination="s3://down/prefix")
    assert not state.is_delivered
    needs = ActiveBatch(requests=6)
    ActiveIndex(server.storage).add("one", state.batch.id, needs)
    assert create(server, one).status_code == 200
    assert_limited(create(server, one, lines=6), 429, next(iter(limits)))


def test_requests_in_unfinished_batches_are_limited(serve):
    server = serve(max_open_requests=10)
    key = server.key("one")
    assert create(server, key, lines=6).status_code == 200
    assert_limited(create(server, key, lines=5), 429, "max_open_requests")
    assert create(server, key, lines=4).status_code == 200


def test_a_rejected_batch_leaves_nothing_and_may_be_created_later(serve):
    server = serve(max_open_batches=1)
    key = server.key("one") | {"idempotency-key": "k"}
    first = create(server, server.key("one")).json()["id"]
    file_id = server.upload(headers=key)
    rejected = server.create(file_id, headers=key, model="m")
    assert_limited(rejected, 429, "max_open_batches")
    assert [*ActiveIndex(server.storage)] == [("one", first)]
    ActiveIndex(server.storage).remove("one", first)
    assert server.create(file_id, headers=key, model="m").status_code == 200


def test_a_repeated_request_counts_once(serve):
    server = serve(max_open_batches=1)
    key = server.key("one") | {"idempotency-key": "k"}
    file_id = server.upload(headers=key)
    ids = {
        server.create(file_id, headers=key, model="m").json()["id"] for _ in range(3)
    }
    assert len(ids) == 1


def test_limits_hold_across_servers(serve):
    storage = MemoryStorage()
    servers = [serve(storage, max_open_batches=3, max_daily_cost=9) for _ in range(3)]
    key = servers[0].key("one")
    ids = [servers[0].upload(headers=key) for _ in range(12)]

    def ask(number):
        return servers[number % 3].create(
            ids[number], headers=key, model="m", max_cost=1
        )

    with ThreadPoolExecutor(12) as pool:
        responses = list(pool.map(ask, range(12)))
    created = [one for one in responses if one.status_code == 200]
    assert len(created) <= 3
    assert len([*ActiveIndex(storage)]) == len(created)
    while len(created) < 3:  # racing requests may all be rejected: one after the other
        created.append(ask(len(created)))
        assert created[-1].status_code == 200
    assert_limited(ask(11), 429, "max_open_batches")


def test_the_cost_of_a_day_is_limited(serve):
    server = serve(max_daily_cost=Decimal(10))
    key = server.key("one")
    assert create(server, key, max_cost=6).status_code == 200
    assert_limited(create(server, key, max_cost=5), 429, "max_daily_cost")
    rest = create(server, key)
    assert rest.json()["max_cost"] == 4, "a batch without a limit gets what is left"
    assert_limited(create(server, key), 429, "max_daily_cost")
    assert_limited(create(server, key, max_cost=0.01), 429, "max_daily_cost")


def test_an_ended_batch_counts_with_what_it_has_cost(serve):
    server = serve(max_daily_cost=Decimal(10))
    key = server.key("one")
    hand = Hand(storage=server.storage, project="one")
    hand.ended(whole("a", "hi"), max_cost=Decimal(10))
    cost = create(server, key).json()["max_cost"]
    assert 9.9 < cost < 10


def test_files_are_limited_by_their_size_in_bytes(serve):
    server = serve(max_stored_bytes=3 * len(LINE))
    key = server.key("one")
    one = {"files": {"file": ("in.jsonl", LINE * 2)}, "data": {"purpose": "batch"}}
    stored = [server.upload(headers=key) for _ in range(2)]
    rejected = server.client.post("/v1/files", headers=key, **one)
    assert_limited(rejected, 403, "max_stored_bytes")
    files = server.client.get("/v1/files", headers=key).json()["data"]
    assert {file["id"] for file in files} == {*stored}
    server.upload(LINE * 2, headers=server.key("two"))


def test_a_file_of_unknown_size_is_limited_too(serve):
    server = serve(max_stored_bytes=1_000)
    boundary = b"--b\r\n"
    head = b'content-disposition: form-data; name="file"; filename="f"\r\n\r\n'
    purpose = b'content-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    body = boundary + purpose + boundary + head + LINE * 100 + b"\r\n--b--\r\n"
    response = server.client.post(
        "/v1/files",
        content=iter([body]),
        headers={"content-type": "multipart/form-data; boundary=b"},
    )
    assert_limited(response, 403, "max_stored_bytes")
    assert server.client.get("/v1/files").json()["data"] == []


def test_a_retry_stores_no_copy_of_its_input_beyond_the_limit(serve):
    server = serve(max_stored_bytes=1)
    hand = Hand(storage=server.storage)
    state = hand.ended(whole("a", "hi"), answer=lambda _: None)
    response = server.client.post(f"/v1/batches/{state.batch.id}/retry")
    assert_limited(response, 403, "max_stored_bytes")


def test_a_priority_above_the_projects_highest_is_rejected(serve):
    server = serve(max_priority="normal")
    key = server.key("one")
    assert_limited(create(server, key, priority="high"), 403, "max_priority")
    assert create(server, key, priority="normal").status_code == 200


def test_rules_of_all_projects_hold_where_a_project_has_none_of_its_own():
    known = {
        "*": ProjectRules(share=2, max_open_batches=5),
        "one": ProjectRules(max_open_batches=7),
    }
    assert rules_of("one", known) == ProjectRules(share=2, max_open_batches=7)
    assert rules_of("two", known) == known["*"]
    assert rules_of("two", {}) == ProjectRules()
