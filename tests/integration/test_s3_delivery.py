"""Results delivered to a real S3 server, by the threads of a controller."""

from io import BytesIO

import pytest
from pyarrow import parquet

from batchchat.jobs.settings import Settings
from batchchat.workers.broker.messages import DELIVER, WorkMessage
from batchchat.workers.control.delivery_pool import DeliveryPool
from tests.support.ended import Hand, whole
from tests.support.memory_broker import memory_environment
from tests.support.servers.s3_server import BUCKET, credentials
from tests.support.wait import wait_until

pytestmark = pytest.mark.server

DATA = b"".join(whole(f"q-{n}", f"text {n}") + b"\n" for n in range(9))
PATIENCE = 60.0


@pytest.fixture(params=["moto", "swift"])
def server(request):
    server = request.getfixturevalue(request.param)
    with credentials(server.key, server.secret):
        yield server


def deliver(server, hand, destination):
    """Deliver a batch that has ended; return its state once a try was noted."""
    settings = Settings(
        storage="",
        s3_endpoint=f"http://127.0.0.1:{server.port}",
        output_prefixes=("s3://bucket", "s3://no-such-bucket"),
    )
    state = hand.ended(DATA, destination=destination, output_format="both")
    environment = memory_environment(hand.storage, settings, clock=lambda: 1_000.0)
    deliveries = DeliveryPool(environment, environment.lease_keeper())
    deliveries.start(WorkMessage("default", state.batch.id, DELIVER))

    def tried():
        new = hand.ledger.state(state.batch.id)
        return new if new.delivery_receipt or new.delivery_attempt else None

    return wait_until(tried, "a delivery")


def test_results_are_written_below_the_prefix(server):
    hand = Hand()
    state = deliver(server, hand, f"s3://{BUCKET}/exports/nightly")
    name = f"exports/nightly/{state.batch.id}_output"
    assert state.delivery_receipt.files == [
        f"s3://{BUCKET}/{name}.jsonl",
        f"s3://{BUCKET}/{name}.parquet",
    ]
    output, table = (
        server.client.get_object(Bucket=BUCKET, Key=f"{name}.{ending}")["Body"].read()
        for ending in ("jsonl", "parquet")
    )
    assert output == hand.file(state.final.output_file_id)
    assert parquet.read_table(BytesIO(table)).num_rows == 9


def test_a_missing_bucket_is_named_and_retried(server):
    state = deliver(server, Hand(), "s3://no-such-bucket/x")
    assert state.delivery_receipt is None
    assert state.delivery_attempt.tries == 1
    assert "no-such-bucket" in state.delivery_attempt.error
    assert state.status == "completed"
