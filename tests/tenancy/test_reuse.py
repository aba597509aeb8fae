"""A project cannot reuse the answers of another one, nor find out what they are."""

import pytest

from tests.api.api_server import ApiServer, error_of
from tests.support.ended import Hand, whole
from tests.support.reusing import count_computed, run
from tests.support.running import Bench, lines

SECRET = whole("q", "the patient has a fever", seed=1) + b"\n"
NOBODYS = f"batch_{0:032x}"


@pytest.fixture
def server():
    served = ApiServer(loopback_only=False)
    yield served
    served.close()


def test_the_batches_of_another_project_look_like_batches_that_do_not_exist(server):
    theirs = Hand(server.storage, project="victim").ended(SECRET).batch.id
    before = [key for key in server.stored() if "/victim/" in key]
    attacker = server.key("attacker")
    file_id = server.upload(SECRET, headers=attacker)
    answers = []
    for batch_id in (theirs, NOBODYS):
        response = server.create(file_id, model="m", reuse=[batch_id], headers=attacker)
        error = error_of(response)
        assert batch_id in error["message"]
        error["message"] = error["message"].replace(batch_id, "")
        answers.append((response.status_code, error))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert [key for key in server.stored() if "/victim/" in key] == before


def test_auto_finds_no_batches_of_another_project(server):
    Hand(server.storage, project="victim").ended(SECRET)
    attacker = server.key("attacker")
    file_id = server.upload(SECRET, headers=attacker)
    batch = server.create(file_id, model="m", reuse="auto", headers=attacker).json()
    assert batch["reuse"] == []


@pytest.mark.parametrize("body", [{"temperature": 0}, {"seed": 5}], ids=str)
def test_the_same_request_of_another_project_is_computed(tmp_path, monkeypatch, body):
    bench = Bench(tmp_path, project="victim")
    computed = count_computed(bench, monkeypatch)
    data = lines(5, **body)
    run(bench, data)
    bench.project = "attacker"
    computed.clear()
    state = run(bench, data, "auto")
    assert len(computed) == 5
    assert state.reused() == 0
    assert run(bench, data, "auto").reused() == 5
