"""Responses have every field that OpenAI's types require, with the right type.

OpenAI's own clients do not validate responses, but other clients do and would reject,
for example, a batch without a `completion_window`.
"""

import pytest
from openai.types import Batch, FileDeleted, FileObject, Model
from openai.types.batch_usage import BatchUsage

from batchchat.jobs.ledger.submission import cancel_batch
from tests.support.ended import Hand, whole

DATA = b"".join(whole(f"q-{n}", "text") + b"\n" for n in range(4))


@pytest.fixture
def hand(served):
    return Hand(storage=served.storage)


def batch_in(hand, status):
    """Return the id of a batch in the given status."""
    if status == "failed":
        return hand.submit(b"no JSON\n")
    batch_id = hand.submit(DATA, plan=status != "validating")
    if status == "cancelling":
        cancel_batch(hand.ledger, batch_id)
    elif status == "finalizing":
        hand.run(batch_id)
    elif status not in {"validating", "in_progress"}:
        hand.run(batch_id, shards=1)
        hand.finalize(batch_id, status)
    return batch_id


STATUSES = [
    *("validating", "failed", "in_progress", "finalizing"),
    *("completed", "expired", "cancelling", "cancelled"),
]


@pytest.mark.parametrize("status", STATUSES)
def test_a_batch_of_any_status_matches_openais_schema(served, hand, status):
    batch_id = batch_in(hand, status)
    one = served.client.get(f"/v1/batches/{batch_id}").json()
    [listed] = served.client.get("/v1/batches").json()["data"]
    for found in (one, listed):
        batch = Batch.model_validate(found, strict=True)
        assert batch.status == status
        assert batch.completion_window == "24h"
        assert batch.request_counts is not None
        assert isinstance(batch.usage, BatchUsage)
        assert set(Batch.model_fields) <= set(found)
        assert "" not in found.values()


def test_a_file_matches_openais_schema(served):
    file_id = served.upload()
    one = served.client.get(f"/v1/files/{file_id}").json()
    assert FileObject.model_validate(one, strict=True).status == "processed"
    assert set(FileObject.model_fields) <= set(one)
    gone = served.client.delete(f"/v1/files/{file_id}").json()
    assert FileDeleted.model_validate(gone, strict=True).deleted


def test_a_model_matches_openais_schema(served):
    for one in served.client.get("/v1/models").json()["data"]:
        Model.model_validate(one, strict=True)
