"""`batchchat serve` and `keys` as processes: started, killed, restarted."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.wait import wait_until

LINE = b'{"messages": [{"role": "user", "content": "a secret question"}]}\n'
BEGIN = (
    b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
)
END = b"\r\n--x--\r\n"
FORM = {"content-type": "multipart/form-data; boundary=x"}
MOST_MEMORY = 250
"""Maximum memory of a server in MiB, independent of the size of uploads."""


class Server:
    """A running `batchchat serve`."""

    def __init__(self, place, *arguments, **settings):
        self.place = place
        self.run = place.start("serve", "--port", "0", *arguments, settings=settings)
        self.run.until(lambda: "http://" in self.run.err.read_text())
        [found] = re.findall(r"http://[^ \"]+:\d+", self.run.err.read_text())[:1]
        self.client = httpx.Client(base_url=found, timeout=30)
        self.get = self.client.get

    def upload(self, data=LINE):
        files = {"file": ("in.jsonl", data)}
        answer = self.client.post("/v1/files", files=files, data={"purpose": "batch"})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def create(self, file_id, **fields):
        asked = {
            "input_file_id": file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        return self.client.post("/v1/batches", json=asked | fields)

    def kill(self):
        """End it with -9."""
        os.kill(self.run.pid, signal.SIGKILL)
        self.run.process.wait()

    def runner(self):
        """Return the process id of its runner, 0 if there is none."""
        children = Path(f"/proc/{self.run.pid}/task/{self.run.pid}/children")
        tasks = children.parent.parent.iterdir()
        with suppress(FileNotFoundError):
            found = [(task / "children").read_text().split() for task in tasks]
            return int(next((one for some in found for one in some), 0))
        return 0

    def memory(self):
        """Return its peak memory in MiB."""
        status = Path(f"/proc/{self.run.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


@pytest.fixture
def start(place):
    """Start servers in the test's place."""
    with ExitStack() as stack:

        def start(*arguments, **settings):
            server = Server(place, *arguments, **settings)
            stack.enter_context(server.client)
            return server

        yield start


@pytest.fixture
def server(start):
    return start()


def test_serve_prints_its_address_and_stops_on_sigterm(server):
    assert server.get("/healthz").json() == {"status": "ok"}
    assert server.get("/readyz").json() == {"status": "ok"}
    os.kill(server.run.pid, signal.SIGTERM)
    done = server.run.end()
    assert (done.code, done.out) == (0, b"")


def test_log_lines_are_json_without_prompts(server):
    server.create(server.upload())
    os.kill(server.run.pid, signal.SIGTERM)
    lines = [json.loads(line) for line in server.run.end().err.splitlines()]
    events = {line.get("event") for line in lines}
    assert {"server_started", "request_answered", "server_stopped"} <= events
    assert "secret" not in json.dumps(lines)


def test_runner_ends_with_the_server(server):
    runner = server.run.until(server.runner)
    server.kill()
    wait_until(lambda: not Path(f"/proc/{runner}").exists(), "the end of the runner")


def test_killed_runner_is_restarted_in_the_background(start):
    server = start(metrics=True)
    file_id = server.upload(b"no JSON\n")
    runner = server.run.until(server.runner)
    os.kill(runner, signal.SIGKILL)
    assert server.get("/healthz").status_code == 200
    batch = server.create(file_id).json()
    place = f"/v1/batches/{batch['id']}"
    server.run.until(lambda: server.get(place).json()["status"] == "failed")
    assert server.runner() not in {0, runner}
    assert "batchchat_runner_starts_total 2.0" in server.get("/metrics").text


def test_restarted_server_runs_the_batches_of_a_killed_one(start):
    first = start()
    file_id = first.upload(b"no JSON\n")
    runner = first.run.until(first.runner)
    os.kill(runner, signal.SIGSTOP)
    batch_id = first.create(file_id).json()["id"]
    first.kill()
    with suppress(ProcessLookupError):  # it was stopped, so that it took nothing
        os.kill(runner, signal.SIGCONT)
    second = start()
    batch = f"/v1/batches/{batch_id}"
    second.run.until(lambda: second.get(batch).json()["status"] == "failed")


def test_server_killed_during_an_upload_leaves_no_file(place, start):
    server = start()
    sent = threading.Event()

    def body():
        yield BEGIN
        for _ in range(80):
            yield LINE * 2_000
        sent.set()
        while server.run.process.poll() is None:
            yield LINE
            time.sleep(0.01)

    def upload():
        with suppress(httpx.HTTPError):
            server.client.post("/v1/files", content=body(), headers=FORM)

    thread = threading.Thread(target=upload)
    thread.start()
    assert sent.wait(20)
    server.kill()
    thread.join()
    again = start()
    assert again.get("/v1/files").json()["data"] == []
    objects = [path for path in place.storage.rglob("*") if path.is_file()]
    assert [path for path in objects if not path.name.startswith(".")] == []


@pytest.mark.parametrize("kill_at", range(4))
def test_server_killed_during_a_create_lists_no_incomplete_batch(start, kill_at):
    server = start()
    file_id = server.upload(b"no JSON\n")
    answered = []

    def create():
        with suppress(httpx.HTTPError):
            for number in range(10_000):
                answer = server.create(file_id, metadata={"n": f"{number}"})
                answered.append(answer.json()["id"])

    thread = threading.Thread(target=create)
    thread.start()
    server.run.until(lambda: len(answered) > 3 * kill_at)
    server.kill()
    thread.join()
    again = start()
    listed = []
    page = again.get("/v1/batches?limit=100").json()
    while page["data"]:
        listed += [one["id"] for one in page["data"]]
        page = again.get(f"/v1/batches?limit=100&after={listed[-1]}").json()
    assert set(answered) <= set(listed)
    assert len(listed) - len(answered) in {0, 1}
    for batch_id in listed:
        status = f"/v1/batches/{batch_id}"
        again.run.until(lambda: again.get(status).json()["status"] == "failed")  # noqa: B023


def test_memory_does_not_grow_with_an_upload(server):
    pieces, piece = 300, LINE * 16_384

    def body():
        yield BEGIN
        for _ in range(pieces):
            yield piece
        yield END

    answer = server.client.post("/v1/files", content=body(), headers=FORM, timeout=120)
    assert answer.json()["bytes"] == pieces * len(piece)
    assert server.memory() < MOST_MEMORY


def test_server_without_keys_listens_on_localhost_only(place):
    done = place.run("serve", "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert done.code == 2
    assert "hint: create a key with `batchchat keys create`" in done.err


def test_server_with_a_key_listens_on_all_addresses(place, start):
    key = place.run("keys", "create").out.decode().strip()
    server = start("--host", "0.0.0.0")  # noqa: S104 - as it is meant
    assert server.get("/v1/models").status_code == 401
    header = {"authorization": f"Bearer {key}"}
    assert server.get("/v1/models", headers=header).status_code == 200


def test_used_port_is_an_error(place, server):
    port = server.client.base_url.port
    done = place.run("serve", "--port", port)
    assert done.code == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in done.err


def test_keys_are_created_listed_and_revoked(place):
    none = place.run("keys", "list")
    assert (none.code, none.out) == (0, b"")
    assert "batchchat keys create" in none.err
    made = place.run("keys", "create", "--project", "blue", "--name", "ci", "--json")
    key = made.json()
    listed = place.run("keys", "list").out.decode()
    assert key["id"] in listed
    assert "blue" in listed
    assert key["key"] not in listed
    assert place.run("keys", "revoke", key["id"]).code == 0
    assert "revoked" in place.run("keys", "list").out.decode()


def test_key_for_an_invalid_project_is_an_error(place):
    done = place.run("keys", "create", "--project", "../other")
    assert done.code == 2
    assert "not a valid project name" in done.err


def test_revoking_an_unknown_key_is_an_error(place):
    done = place.run("keys", "revoke", "nobodys")
    assert done.code == 2
    assert "no such key" in done.err


def test_server_imports_no_engine():
    code = "import sys, batchchat.api.server.main;"
    code += "print({'torch', 'vllm'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
