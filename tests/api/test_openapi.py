"""The document says what the server does, and the server what the document says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.api_server import Served
from tests.support.ended import Hand, whole

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
NOT_ASKED = "positive_data_acceptance"
"""That all which fits the schema is accepted: a URL or a model may fit and not be."""


@pytest.fixture(scope="module")
def server():
    served = Served(loopback_only=False)
    yield served
    served.close()


@pytest.fixture(scope="module")
def key(server):
    return server.key("default")


@pytest.fixture(scope="module")
def batches(server):
    """Batches to ask for: one that runs, and one that has ended."""
    hand = Hand(storage=server.storage)
    data = b"".join(whole(f"q-{n}", "text") + b"\n" for n in range(5))
    running = hand.submit(data)
    hand.run(running, shards=1)
    return {
        "running": running,
        "ended": hand.finalize(hand.submit(data), "expired").batch.id,
    }


@pytest.fixture(scope="module")
def document(server):
    return server.client.get("/openapi.json").json()


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["running", "ended"])
def test_no_question_that_it_allows_gets_an_answer_that_it_does_not(
    server, key, batches, batch, tmp_path
):
    known = f'[parameters]\n"path.batch_id" = "{batches[batch]}"\n'
    (tmp_path / "schemathesis.toml").write_text(known)
    done = subprocess.run(
        [
            SCHEMATHESIS,
            "run",
            f"{server.url}/openapi.json",
            f"--header=Authorization: {key['authorization']}",
            "--phases=examples,coverage,fuzzing,stateful",
            "--max-examples=15",
            f"--exclude-checks={NOT_ASKED}",
            "--seed=1",
            "--continue-on-failure",
            "--generation-database=none",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_operation_says_what_it_is_for(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path}"


def test_every_error_is_of_one_shape(document):
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema["$ref"].endswith("/ErrorResponse")


def test_what_is_not_for_operations_needs_a_key(document):
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert bool(operation.get("security")) == path.startswith("/v1")


def test_no_answer_is_promised_that_never_comes(document):
    assert "HTTPValidationError" not in json.dumps(document)


def test_the_page_for_people_is_there(server):
    answer = server.client.get("/docs")
    assert answer.status_code == 200
    assert "openapi.json" in answer.text
