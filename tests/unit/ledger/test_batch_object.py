"""One struct is the Batch object of the server, its documentation and the client."""

import json

import msgspec
import pytest

from batchchat.api.http import schemas
from batchchat.cli.backends.batch_view import read_batch
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.json_lines import encode
from batchchat.jobs.ledger.batch_object import BatchObject, _usage, batch_object
from tests.support.ended import Hand, bare


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture(params=["validating", "in_progress", "completed", "cancelled"])
def state(hand, request):
    batch_id = hand.submit(bare("a"), plan=request.param != "validating")
    if request.param == "completed":
        hand.run(batch_id)
    if request.param in {"completed", "cancelled"}:
        hand.finalize(batch_id, request.param)
    return hand.ledger.state(batch_id)


def test_the_client_decodes_what_the_server_encodes(state):
    encoded = encode(batch_object(state))
    assert read_batch(encoded) == batch_object(state)


def test_the_documentation_describes_every_field(state):
    model = schemas.BatchObject
    assert set(model.model_fields) == set(BatchObject.__struct_fields__)
    encoded = json.loads(encode(batch_object(state)))
    assert model.model_validate(encoded).model_dump(mode="json") == encoded


def test_clients_accept_new_fields_and_values(state):
    encoded = json.loads(encode(batch_object(state)))
    newer = encoded | {"status": "paused", "from_the_future": 1}
    assert read_batch(json.dumps(newer).encode()).status == "paused"


def test_the_usage_has_openai_s_format():
    assert msgspec.to_builtins(_usage(Usage(3, 1, 4))) == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    }


def test_the_documentation_lists_the_known_statuses():
    schema = schemas.BatchObject.model_json_schema()
    assert "completed" in schema["properties"]["status"]["enum"]
    assert schema["properties"]["expires_at"]["description"]
    assert set(schema["required"]) == set(BatchObject.__struct_fields__)
