"""The OpenAPI document matches the server, and is complete."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.api_server import ApiServer
from tests.support.ended import Hand, whole

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
EXCLUDED_CHECK = "positive_data_acceptance"
"""Not every value that matches the schema is accepted: a model may not exist."""


@pytest.fixture(scope="module")
def server():
    served = ApiServer(loopback_only=False, metrics=True)
    yield served
    served.close()


@pytest.fixture(scope="module")
def key(server):
    return server.key("default")


@pytest.fixture(scope="module")
def batches(server):
    """The ids of a running and of an ended batch."""
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
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "case",
    [
        ("ended", 15),
        pytest.param(("running", 100), marks=pytest.mark.extended),
        pytest.param(("ended", 100), marks=pytest.mark.extended),
    ],
    ids=lambda case: f"{case[0]}-{case[1]}",
)
def test_every_valid_request_gets_a_documented_response(
    server, key, batches, case, tmp_path
):
    batch, examples = case
    known = f'[parameters]\n"path.batch_id" = "{batches[batch]}"\n'
    (tmp_path / "schemathesis.toml").write_text(known)
    done = subprocess.run(
        [
            SCHEMATHESIS,
            "run",
            f"{server.url}/openapi.json",
            f"--header=Authorization: {key['authorization']}",
            "--phases=examples,coverage,fuzzing,stateful",
            f"--max-examples={examples}",
            f"--exclude-checks={EXCLUDED_CHECK}",
            "--seed=1",
            "--continue-on-failure",
            "--generation-database=none",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_operation_has_a_written_summary(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            generated = operation["operationId"].replace("_", " ").title()
            assert operation.get("summary"), f"{method} {path}"
            assert operation["summary"] != generated, f"{method} {path}"


def test_every_query_and_header_parameter_has_a_description(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] != "path":
                    assert parameter.get("description"), f"{method} {path} {parameter}"


def test_operation_ids_are_unique(document):
    ids = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(set(ids)) == len(ids)


def test_every_error_response_has_the_same_schema(document):
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    schema = response["content"]["application/json"]["schema"]
                    assert schema["$ref"].endswith("/ErrorResponse")


def test_only_operational_routes_need_no_key(document):
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert bool(operation.get("security")) == path.startswith("/v1")


def test_fastapis_own_validation_error_is_not_documented(document):
    assert "HTTPValidationError" not in json.dumps(document)


def test_the_documentation_page_exists(server):
    response = server.client.get("/docs")
    assert response.status_code == 200
    assert "openapi.json" in response.text
