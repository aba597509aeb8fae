"""Webhooks: told at least once, signed, to nobody inside."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from batchchat.api.webhooks.safe_post import (
    WebhookError,
    _public_address,
    safe_post,
    validate_url,
)
from batchchat.api.webhooks.sender import WebhookSender
from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.repair import mended
from batchchat.jobs.planning.planner import make_plan
from batchchat.jobs.planning.scanner import Limits
from batchchat.jobs.webhooks.endpoints import Endpoints, event
from batchchat.jobs.webhooks.outbox import Letter, Outbox
from tests.api.api_server import error_of
from tests.support.ended import MODEL, EmptyRegistry, Hand, whole

DATA = whole("q", "the prompt") + b"\n"


class Receiver:
    """A server that takes webhooks, and answers with the statuses that are set."""

    def __init__(self):
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append((dict(self.headers), body))
                status = outer.statuses.pop(0) if outer.statuses else 200
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def batches(self):
        """Return the ids of the batches that it was told of."""
        return [json.loads(body)["data"]["id"] for _, body in self.got]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


class Clock:
    """A time that one moves, from the time of its test on.

    OpenAI's client holds a signature against the real time.
    """

    def __init__(self):
        self.now = float(int(time.time()))

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def served(serve, clock):
    return serve(webhooks_anywhere=True, clock=clock)


@pytest.fixture
def webhook_sender(served):
    with closing(WebhookSender(served.context)) as webhook_sender:
        yield webhook_sender


def tell(webhook_sender):
    """Send what is due, and wait until that is done."""
    for turn in webhook_sender.send_due():
        turn.result()


def add(served, url, *types):
    asked = {"name": "n", "url": url, "event_types": types or ["batch.completed"]}
    answer = served.client.post("/v1/webhook_endpoints", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


@dataclass
class TimedHand(Hand):
    """Ends batches at the server's time."""

    clock: Callable[[], float] = time.time

    @property
    def ledger(self):
        return Ledger(self.storage, "default", self.clock)


def plan(served, batch_id):
    """Plan a batch; return who can go on with it."""
    hand = TimedHand(storage=served.storage, clock=served.context.clock)
    renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
    batch = hand.ledger.batch(batch_id)
    make_plan(hand.ledger, batch, renderers, Limits(2, 10_000, 4_096))
    return hand


def end(served, batch_id, status="completed"):
    hand = plan(served, batch_id)
    hand.run(batch_id)
    hand.finalize(batch_id, status)


def test_the_end_of_a_batch_is_told_in_a_way_that_openais_client_accepts(
    served, receiver, webhook_sender
):
    secret = add(served, receiver.url)["signing_secret"]
    batch_id = served.batch(DATA)
    tell(webhook_sender)
    assert receiver.got == []
    end(served, batch_id)
    tell(webhook_sender)
    [(headers, body)] = receiver.got
    client = OpenAI(api_key="none", webhook_secret=secret)
    told = client.webhooks.unwrap(body, headers)
    assert told.type == "batch.completed"
    assert told.data.id == batch_id
    assert told.object == "event"
    assert told.id == headers["webhook-id"]


def test_it_is_told_once_when_that_went_well(served, receiver, webhook_sender, clock):
    add(served, receiver.url)
    end(served, served.batch(DATA))
    for _ in range(3):
        tell(webhook_sender)
        clock.now += 100
    assert len(receiver.got) == 1
    assert list(Outbox(served.storage)) == []


def test_it_is_told_again_with_the_same_id_until_that_goes_well(
    served, receiver, webhook_sender, clock
):
    add(served, receiver.url)
    end(served, served.batch(DATA))
    receiver.statuses = [500, 302, 404]
    for waited in (0, 4, 1, 9, 1, 20, 100):
        clock.now += waited
        tell(webhook_sender)
    assert len(receiver.got) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1


def test_it_is_given_up_after_three_days(served, receiver, webhook_sender, clock):
    add(served, receiver.url)
    end(served, served.batch(DATA))
    receiver.statuses = [500] * 100
    for _ in range(16):
        tell(webhook_sender)
        clock.now += 6 * 3_600
    assert list(Outbox(served.storage)) == []
    before = len(receiver.got)
    tell(webhook_sender)
    assert len(receiver.got) == before


def test_a_server_that_died_while_it_told_leaves_it_to_another(
    served, receiver, webhook_sender, clock
):
    endpoint = add(served, receiver.url)
    batch_id = served.batch(DATA)
    end(served, batch_id)
    letter = Letter("default", batch_id)
    assert Outbox(served.storage).begin(letter, endpoint["id"], int(clock.now))
    tell(webhook_sender)
    assert receiver.got == []
    clock.now += 5
    tell(webhook_sender)
    assert len(receiver.got) == 1


def test_two_servers_do_not_both_tell_it(served, receiver):
    add(served, receiver.url)
    end(served, served.batch(DATA))
    first, second = (WebhookSender(served.context) for _ in range(2))
    threads = [threading.Thread(target=tell, args=(one,)) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.got) == 1


def test_each_endpoint_hears_what_it_asked_for(served, receiver, webhook_sender):
    add(served, receiver.url, "batch.failed")
    add(served, receiver.url, "batch.failed", "batch.cancelled")
    end(served, served.batch(DATA), "cancelled")
    tell(webhook_sender)
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["batch.cancelled"]
    assert list(Outbox(served.storage)) == []


def test_a_batch_whose_input_is_refused_is_told_to_have_failed(
    served, receiver, webhook_sender
):
    add(served, receiver.url, "batch.failed")
    batch_id = served.batch(b"no JSON\n")
    plan(served, batch_id)
    tell(webhook_sender)
    [(_, body)] = receiver.got
    assert json.loads(body)["type"] == "batch.failed"


def test_both_secrets_sign_for_a_day_if_one_wishes(
    served, receiver, webhook_sender, clock
):
    endpoint = add(served, receiver.url)
    place = f"/v1/webhook_endpoints/{endpoint['id']}/rotate_secret"
    wish = {"keep_old_secret_active_for_24_hours": True}
    rotated = served.client.post(place, json=wish).json()
    end(served, served.batch(DATA))
    tell(webhook_sender)
    clock.now += 86_400
    end(served, served.batch(DATA, metadata={"later": ""}))
    tell(webhook_sender)
    (first, body), (second, _) = receiver.got
    assert len(first["webhook-signature"].split()) == 2
    assert len(second["webhook-signature"].split()) == 1
    for secret in (endpoint["signing_secret"], rotated["signing_secret"]):
        OpenAI(api_key="none").webhooks.verify_signature(body, first, secret=secret)


def test_a_wrong_secret_does_not_fit(served, receiver, webhook_sender):
    add(served, receiver.url)
    end(served, served.batch(DATA))
    tell(webhook_sender)
    [(headers, body)] = receiver.got
    with pytest.raises(InvalidWebhookSignatureError):
        OpenAI(api_key="none").webhooks.verify_signature(
            body, headers, secret="whsec_AAAA"
        )


def test_a_deleted_endpoint_hears_nothing(served, receiver, webhook_sender):
    endpoint = add(served, receiver.url)
    batch_id = served.batch(DATA)
    served.client.delete(f"/v1/webhook_endpoints/{endpoint['id']}")
    end(served, batch_id)
    tell(webhook_sender)
    assert receiver.got == []
    assert list(Outbox(served.storage)) == []


def test_a_sample_says_what_the_endpoint_answered(served, receiver):
    endpoint = add(served, receiver.url)
    receiver.statuses = [418]
    place = f"/v1/webhook_endpoints/{endpoint['id']}/test"
    answer = served.client.post(place, json={"event_type": "batch.failed"})
    assert answer.json()["status_code"] == 418


class Dripper:
    """A receiver that sends the head of its answer byte by byte, and then 200."""

    def __init__(self):
        self.is_called = threading.Event()
        self.may_end = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._drip, daemon=True)
        self._thread.start()

    def _drip(self):
        with suppress(OSError):
            connection, _ = self._server.accept()
            self.is_called.set()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                for _ in range(100):
                    connection.sendall(b"x")
                    if self.may_end.wait(0.05):
                        break
                connection.sendall(b"\r\n\r\n")

    def close(self):
        self.may_end.set()
        self._server.close()
        self._thread.join()


@pytest.fixture
def dripper():
    with closing(Dripper()) as dripper:
        yield dripper


def test_a_receiver_that_drips_is_left(dripper, monkeypatch):
    monkeypatch.setattr("batchchat.api.webhooks.safe_post._TIMEOUT_SECONDS", 0.3)
    with pytest.raises(WebhookError, match="longer than"):
        safe_post(dripper.url, b"{}", {}, allow_private=True)


def test_a_slow_receiver_holds_up_its_own_project_only(serve, clock, receiver, dripper):
    served = serve(webhooks_anywhere=True, clock=clock, loopback_only=False)
    for project, url in (("slow", dripper.url), ("quick", receiver.url)):
        served.client.headers.update(served.key(project))
        add(served, url, "batch.failed")
        batch_id = served.batch(b"no JSON\n")
        ledger = served.context.ledger(project)
        renderers = EmptyRegistry(Catalog({"m": MODEL}), Path())
        make_plan(ledger, ledger.batch(batch_id), renderers, Limits(2, 10_000, 4_096))
    with closing(WebhookSender(served.context)) as webhook_sender:
        turns = webhook_sender.send_due()
        assert dripper.is_called.wait(10)
        while all(not turn.done() for turn in turns):
            time.sleep(0.01)
        assert len(receiver.got) == 1
        assert len(webhook_sender.send_due()) == 1  # the slow one has no second thread
        dripper.may_end.set()


def test_a_damaged_batch_keeps_nobody_else_from_being_told(
    served, receiver, webhook_sender
):
    add(served, receiver.url)
    damaged, whole_ = served.batch(DATA), served.batch(DATA, metadata={"n": "2"})
    for batch_id in (damaged, whole_):
        end(served, batch_id)
    ledger = served.context.ledger("default")
    served.storage.put(ledger.keys.of(damaged).final, b"{damaged")
    for _ in range(2):
        tell(webhook_sender)
    assert receiver.batches() == [whole_]
    mended(ledger, ledger.state(damaged))
    end(served, damaged)
    tell(webhook_sender)
    assert receiver.batches() == [whole_, damaged]


def test_files_are_swept_though_the_outbox_is_damaged(served, monkeypatch):
    monkeypatch.setattr("batchchat.api.webhooks.sender._POLL_SECONDS", 0.01)
    monkeypatch.setattr("batchchat.api.webhooks.sender._SWEEP", 0.0)
    swept = threading.Event()
    monkeypatch.setattr(
        "batchchat.api.webhooks.sender.Files.sweep", lambda _: swept.set()
    )
    served.upload(DATA)
    served.storage.put("outbox/default/nonsense/x/y", b"")
    with closing(WebhookSender(served.context)) as webhook_sender:
        webhook_sender.start()
        assert swept.wait(10)


def test_a_project_has_so_many_endpoints_and_no_more(served):
    for _ in range(20):
        add(served, "https://example.com/")
    asked = {"name": "n", "url": "https://e.com/", "event_types": ["batch.failed"]}
    answer = served.client.post("/v1/webhook_endpoints", json=asked)
    assert answer.status_code == 400
    assert "20" in error_of(answer)["message"]


INSIDE = [
    "127.0.0.1",
    "localhost",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104 - it is to be refused
    "[::1]",
    "[fd00::1]",
    "[fe80::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:10.0.0.1]",
    "224.0.0.1",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a00:1]",
    "[64:ff9b:1::808:808]",
    "[2002:7f00:1::]",
    "[2001:0:808:808::1]",
    "[::7f00:1]",
    "2130706433",
    "0x7f000001",
]


@pytest.mark.parametrize("host", INSIDE)
def test_nobody_inside_is_called(host):
    sample = event("batch.failed", f"batch_{'0' * 32}", 1_795_279_972)
    with pytest.raises(WebhookError, match=r"open internet|no host"):
        safe_post(f"https://{host}:8443/x", sample.body, {}, allow_private=False)


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_what_is_outside_may_be_called(host):
    shown = f"[{host}]" if ":" in host else host
    assert _public_address(httpx.URL(f"https://{shown}/")) == host


def test_a_url_is_https_and_has_no_password():
    wrong = ("http://example.com", "https://u:p@example.com", "https://", "x")
    for url in (*wrong, "https://xn--/", "https://example.com:70000"):
        with pytest.raises(WebhookError):
            validate_url(url, allow_private=False)
    assert validate_url("https://example.com/x", allow_private=False) == httpx.URL(
        "https://example.com/x"
    )


def test_a_host_may_be_written_in_its_own_language():
    with pytest.raises(WebhookError, match="nobody answers at bücher"):
        safe_post("http://bücher.invalid/", b"{}", {}, allow_private=True)


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
def test_a_wrong_endpoint_is_refused(served, asked):
    answer = served.client.post("/v1/webhook_endpoints", json=asked)
    assert answer.status_code == 400
    error_of(answer)
    assert list(Endpoints(served.context.ledger("default"))) == []
