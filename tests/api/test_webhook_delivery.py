"""Webhook events are signed and delivered at least once."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from batchchat.api.webhooks.sender import WebhookSender
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.repair import quarantine_corrupt_records
from batchchat.jobs.planning.planner import make_plan
from batchchat.jobs.planning.scanner import Limits
from batchchat.jobs.webhooks.outbox import Outbox, PendingEvent
from tests.support.clock import Clock
from tests.support.ended import MODEL, EmptyRegistry, Hand, whole
from tests.support.wait import wait_until

DATA = whole("q", "the prompt") + b"\n"


@pytest.fixture
def clock():
    """Start at the real time: OpenAI's client compares it with that of a signature."""
    return Clock(float(int(time.time())))


@pytest.fixture
def served(serve, clock):
    return serve(webhooks_allow_private=True, clock=clock)


@pytest.fixture
def webhook_sender(served):
    with closing(WebhookSender(served.context)) as webhook_sender:
        yield webhook_sender


def send_due(webhook_sender):
    """Send due events, and wait until they are sent."""
    for turn in webhook_sender.send_due():
        turn.result()


@dataclass
class TimedHand(Hand):
    """Ends batches at the server's time."""

    clock: Callable[[], float] = time.time

    @property
    def ledger(self):
        return Ledger(self.storage, "default", self.clock)


def plan(served, batch_id):
    """Plan a batch; return the hand that can run and finalize it."""
    hand = TimedHand(storage=served.storage, clock=served.context.clock)
    renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
    batch = hand.ledger.batch(batch_id)
    make_plan(hand.ledger, batch, renderers, Limits(2, 10_000, 4_096))
    return hand


def end(served, batch_id, status="completed"):
    hand = plan(served, batch_id)
    hand.run(batch_id)
    hand.finalize(batch_id, status)


def test_openais_client_accepts_the_event(served, receiver, webhook_sender):
    secret = served.add_endpoint(receiver.url)["signing_secret"]
    batch_id = served.batch(DATA)
    send_due(webhook_sender)
    assert receiver.received == []
    end(served, batch_id)
    send_due(webhook_sender)
    [(headers, body)] = receiver.received
    client = OpenAI(api_key="none", webhook_secret=secret)
    event = client.webhooks.unwrap(body, headers)
    assert event.type == "batch.completed"
    assert event.data.id == batch_id
    assert event.object == "event"
    assert event.id == headers["webhook-id"]


def test_a_successful_delivery_is_not_repeated(served, receiver, webhook_sender, clock):
    served.add_endpoint(receiver.url)
    end(served, served.batch(DATA))
    for _ in range(3):
        send_due(webhook_sender)
        clock.now += 100
    assert len(receiver.received) == 1
    assert list(Outbox(served.storage)) == []


def test_delivery_is_retried_with_the_same_id_until_it_succeeds(
    served, receiver, webhook_sender, clock
):
    served.add_endpoint(receiver.url)
    end(served, served.batch(DATA))
    receiver.statuses = [500, 302, 404]
    for waited in (0, 4, 1, 9, 1, 20, 100):
        clock.now += waited
        send_due(webhook_sender)
    assert len(receiver.received) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len({body for _, body in receiver.received}) == 1


def test_delivery_is_abandoned_after_three_days(
    served, receiver, webhook_sender, clock
):
    served.add_endpoint(receiver.url)
    end(served, served.batch(DATA))
    receiver.statuses = [500] * 100
    for _ in range(16):
        send_due(webhook_sender)
        clock.now += 6 * 3_600
    assert list(Outbox(served.storage)) == []
    before = len(receiver.received)
    send_due(webhook_sender)
    assert len(receiver.received) == before


def test_another_server_retries_the_delivery_of_a_killed_one(
    served, receiver, webhook_sender, clock
):
    endpoint = served.add_endpoint(receiver.url)
    batch_id = served.batch(DATA)
    end(served, batch_id)
    letter = PendingEvent("default", batch_id)
    assert Outbox(served.storage).record_attempt(letter, endpoint["id"], int(clock.now))
    send_due(webhook_sender)
    assert receiver.received == []
    clock.now += 5
    send_due(webhook_sender)
    assert len(receiver.received) == 1


def test_two_servers_deliver_an_event_once(served, receiver):
    served.add_endpoint(receiver.url)
    end(served, served.batch(DATA))
    first, second = (WebhookSender(served.context) for _ in range(2))
    threads = [
        threading.Thread(target=send_due, args=(one,)) for one in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.received) == 1


def test_endpoints_receive_their_event_types_only(served, receiver, webhook_sender):
    served.add_endpoint(receiver.url, "batch.failed")
    served.add_endpoint(receiver.url, "batch.failed", "batch.cancelled")
    end(served, served.batch(DATA), "cancelled")
    send_due(webhook_sender)
    assert [json.loads(body)["type"] for _, body in receiver.received] == [
        "batch.cancelled"
    ]
    assert list(Outbox(served.storage)) == []


def test_invalid_input_sends_batch_failed(served, receiver, webhook_sender):
    served.add_endpoint(receiver.url, "batch.failed")
    batch_id = served.batch(b"no JSON\n")
    plan(served, batch_id)
    send_due(webhook_sender)
    [(_, body)] = receiver.received
    assert json.loads(body)["type"] == "batch.failed"


def test_the_old_secret_can_sign_for_24_hours_more(
    served, receiver, webhook_sender, clock
):
    endpoint = served.add_endpoint(receiver.url)
    place = f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret"
    keep_old = {"keep_old_secret_active_for_24_hours": True}
    rotated = served.client.post(place, json=keep_old).json()
    end(served, served.batch(DATA))
    send_due(webhook_sender)
    clock.now += 86_400
    end(served, served.batch(DATA, metadata={"later": ""}))
    send_due(webhook_sender)
    (first, body), (second, _) = receiver.received
    assert len(first["webhook-signature"].split()) == 2
    assert len(second["webhook-signature"].split()) == 1
    for secret in (endpoint["signing_secret"], rotated["signing_secret"]):
        OpenAI(api_key="none").webhooks.verify_signature(body, first, secret=secret)


def test_a_wrong_secret_fails_verification(served, receiver, webhook_sender):
    served.add_endpoint(receiver.url)
    end(served, served.batch(DATA))
    send_due(webhook_sender)
    [(headers, body)] = receiver.received
    with pytest.raises(InvalidWebhookSignatureError):
        OpenAI(api_key="none").webhooks.verify_signature(
            body, headers, secret="whsec_AAAA"
        )


def test_a_deleted_endpoint_receives_nothing(served, receiver, webhook_sender):
    endpoint = served.add_endpoint(receiver.url)
    batch_id = served.batch(DATA)
    served.client.delete(f"/v1/webhook_endpoints/{endpoint['id']}")
    end(served, batch_id)
    send_due(webhook_sender)
    assert receiver.received == []
    assert list(Outbox(served.storage)) == []


def test_a_slow_receiver_delays_its_own_project_only(
    serve, clock, receiver, slow_receiver
):
    served = serve(webhooks_allow_private=True, clock=clock, loopback_only=False)
    for project, url in (("slow", slow_receiver.url), ("quick", receiver.url)):
        served.client.headers.update(served.key(project))
        served.add_endpoint(url, "batch.failed")
        batch_id = served.batch(b"no JSON\n")
        ledger = served.context.ledger(project)
        renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
        make_plan(ledger, ledger.batch(batch_id), renderers, Limits(2, 10_000, 4_096))
    with closing(WebhookSender(served.context)) as webhook_sender:
        turns = webhook_sender.send_due()
        assert slow_receiver.is_called.wait(10)
        wait_until(lambda: any(turn.done() for turn in turns))
        assert len(receiver.received) == 1
        assert len(webhook_sender.send_due()) == 1  # the slow one has no second thread
        slow_receiver.may_end.set()


def test_a_corrupt_batch_does_not_block_other_events(served, receiver, webhook_sender):
    served.add_endpoint(receiver.url)
    damaged, whole_ = served.batch(DATA), served.batch(DATA, metadata={"n": "2"})
    for batch_id in (damaged, whole_):
        end(served, batch_id)
    ledger = served.context.ledger("default")
    served.storage.put(ledger.keys.batch(damaged).final, b"{damaged")
    for _ in range(2):
        send_due(webhook_sender)
    assert receiver.batches() == [whole_]
    quarantine_corrupt_records(ledger, ledger.state(damaged))
    end(served, damaged)
    send_due(webhook_sender)
    assert receiver.batches() == [whole_, damaged]
