"""The client survives crashes, broken connections, wrong keys and Ctrl-C."""

import os
import signal

import pytest

from batchchat.jobs.access.api_keys import ApiKeys
from tests.acceptance.serving import Serving, batch_id_of
from tests.support.ended import completion, whole
from tests.support.servers.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.slow

FEW = b"".join(whole(f"q-{n}", "hi") + b"\n" for n in range(3))
MANY = b"".join(whole(f"q-{n}", "x" * 1_000) + b"\n" for n in range(8_000))
UNKNOWN = f"batch_{'0' * 32}"


@pytest.fixture
def server(make_place):
    return Serving(make_place())


@pytest.fixture
def listening(server):
    server.start()
    return server


@pytest.fixture
def proxy(listening):
    """Return a proxy that breaks connections on request."""
    with tcp_proxy(listening.port) as proxy:
        yield proxy


def test_client_waits_for_a_killed_server(server):
    serve = server.start()
    file = server.place.file("in.jsonl", FEW)
    running = server.client("submit", file, "--model", "m", "--output", "out.jsonl")
    batch_id = batch_id_of(running)
    running.until_it_says("checking the input")
    serve.kill()
    running.until_it_says("waiting for the server: can't reach the server at")
    server.end_batch(batch_id)
    server.start()
    done = running.end()
    assert done.code == 0
    assert "completed  3 of 3 requests" in done.err
    assert (server.place.folder / "out.jsonl").read_bytes().count(b"\n") == 3


def test_unreachable_server_is_an_error_without_delay(server):
    file = server.place.file("in.jsonl", FEW)
    submit = ["submit", file]
    for asked in (submit, [*submit, "--model", "m"], ["list"], ["status", UNKNOWN]):
        done = server.ask(*asked)
        assert (done.code, done.out) == (2, b"")
        assert done.err.startswith("error: can't reach the server at http://127.0.0.1:")
        assert "Connection refused\n\nhint: check that it is running" in done.err


def test_broken_upload_is_repeated_and_stored_once(listening, proxy):
    file = listening.place.file("in.jsonl", MANY)
    proxy.request_cuts = [3_000_000, 5_000_000]
    options = ["--model", "m", "--no-wait"]
    done = listening.ask("submit", file, *options, port=proxy.port)
    assert done.code == 0
    assert "waiting for the server: can't reach the server" in done.err
    [seen] = listening.files()
    assert seen["bytes"] == len(MANY)
    assert [it["input_file_id"] for it in listening.batches()] == [seen["id"]]


def test_broken_upload_of_a_pipe_is_an_error_and_leaves_nothing(listening, proxy):
    pipe = listening.place.folder / "pipe"
    os.mkfifo(pipe)
    proxy.request_cuts = [3_000_000]
    running = listening.client("submit", pipe, "--model", "m", port=proxy.port)
    with pytest.raises(BrokenPipeError), pipe.open("wb") as end:
        end.write(MANY)
    done = running.end()
    assert (done.code, done.out) == (2, b"")
    assert done.err.count("error: can't reach the server") == 1
    assert "hint: nothing was submitted; save the input to a file" in done.err
    assert listening.files() == listening.batches() == []


def test_lost_response_to_a_create_leaves_one_batch(listening, proxy):
    file = listening.place.file("in.jsonl", FEW)
    proxy.drop_responses_to = [b"POST /v1/batches"]
    options = ("--model", "demo", "--no-wait")
    done = listening.ask("submit", file, *options, port=proxy.port)
    assert done.code == 0
    assert not proxy.drop_responses_to
    [batch] = listening.batches()
    assert done.out.decode() == f"{batch['id']}\n"
    assert len(listening.files()) == 1


def test_broken_download_continues_at_its_offset(listening, proxy):
    server = listening
    text = "y" * 100_000
    batch = server.hand.ended(FEW, lambda _: completion(text))
    output = server.hand.file(batch.final and batch.final.output_file_id)
    proxy.response_cuts = [120_000, 100_000]
    done = server.ask("results", batch.batch.id, "-o", "out.jsonl", port=proxy.port)
    assert done.code == 0
    assert (server.place.folder / "out.jsonl").read_bytes() == output
    serve_log = server.place.started[0].err.read_text()
    assert proxy.connections == 3
    assert serve_log.count('"status": 206') == 2


def test_broken_download_to_stdout_continues(listening, proxy):
    batch = listening.hand.ended(MANY)
    output = listening.hand.file(batch.final and batch.final.output_file_id)
    proxy.response_cuts = [1_000_000, 900_000]
    done = listening.ask("results", batch.batch.id, port=proxy.port)
    assert (done.code, done.out == output) == (0, True)
    assert proxy.connections == 3


def test_wrong_key_is_an_error_before_the_upload(listening):
    _, key = ApiKeys(listening.hand.storage).create("default")
    file = listening.place.file("in.jsonl", FEW)
    for given in ({}, {"api_key": "bc_wrong"}):
        running = listening.client("submit", file, "--model", "m", settings=given)
        done = running.end()
        while done.code == 0:  # a server checks every few seconds if keys exist
            done = listening.ask("list", settings=given)
        assert (done.code, done.out) == (2, b"")
        assert " rejected the API key: " in done.err
        assert "hint: set BATCHCHAT_API_KEY to a key that `batchchat keys" in done.err
        assert key not in done.err
    good = listening.ask("list", "--json", settings={"api_key": key})
    assert (good.code, good.err) == (0, "")


def test_too_large_file_is_an_error(make_place):
    server = Serving(make_place(), {"max_file_bytes": 1_000})
    server.start()
    done = server.ask("submit", server.place.file("in.jsonl", MANY), "--model", "m")
    assert (done.code, done.out) == (2, b"")
    assert "error: The file exceeds this server's limit of 1,000 bytes." in done.err
    assert "hint: split the file into smaller ones" in done.err
    assert server.files() == []


def test_client_waits_when_rate_limited(make_place):
    server = Serving(make_place(), {"requests_per_minute": 8})
    server.start()
    file = server.place.file("in.jsonl", FEW)
    running = server.client("submit", file, "--model", "m")
    batch_id = batch_id_of(running)
    running.until_it_says("waiting for the server: Rate limit reached")
    server.end_batch(batch_id)
    assert running.end().code == 0


def test_ctrl_c_while_waiting_leaves_the_batch_running(listening):
    server = listening
    file = server.place.file("in.jsonl", FEW)
    running = server.client("submit", file, "--model", "m", "--output", "out.jsonl")
    batch_id = batch_id_of(running)
    running.until_it_says("checking the input")
    running.signal(signal.SIGINT)
    done = running.end()
    assert done.code == 130
    assert (
        f"hint: it keeps running; follow it with `batchchat watch {batch_id}`"
        in done.err
    )
    assert "Traceback" not in done.err
    server.end_batch(batch_id)
    watched = server.ask("watch", batch_id)
    assert watched.code == 0
    assert "wrote    " in watched.err
    assert (server.place.folder / "out.jsonl").read_bytes().count(b"\n") == 3


def test_ctrl_c_during_an_upload_leaves_nothing(listening):
    pipe = listening.place.folder / "pipe"
    os.mkfifo(pipe)
    running = listening.client("submit", pipe, "--model", "m")
    with pipe.open("wb") as end:
        end.write(MANY)
        end.flush()
        running.until_it_says("uploading")
        running.signal(signal.SIGINT)
        done = running.end()
    assert (done.code, done.out) == (130, b"")
    assert "stopped: nothing was submitted" in done.err
    assert "Traceback" not in done.err
    assert listening.files() == listening.batches() == []


def test_another_server_is_an_error_with_a_hint(server, moto):
    done = server.ask("list", port=moto.port)
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith("error: the server at ")
    assert "hint: " in done.err


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:port", "http://h?q"]
)
def test_invalid_url_is_an_error(place, url):
    done = place.run("list", settings={"url": url})
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith(
        f"error: BATCHCHAT_URL: `{url}` is not a valid server URL"
    )


def test_doctor_checks_the_server(server):
    done = server.ask("doctor")
    assert done.code == 1
    status, check, problem = done.out.decode().split(maxsplit=2)
    assert (status, check) == ("error", "server")
    assert problem.startswith("can't reach the server")
    server.start()
    done = server.ask("doctor", "--json")
    found = {finding["check"]: finding["status"] for finding in done.json()}
    assert found == {"server": "ok", "readiness": "error", "key": "ok"}
