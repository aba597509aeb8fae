"""Several engines on one machine share the work, and one may die."""

import os
import re
import signal

import pytest

from tests.acceptance.inputs import few, line
from tests.acceptance.processes import engine_processes, in_session, living, two_engines
from tests.acceptance.redis_cluster import RedisCluster
from tests.acceptance.serving import batch_id_of, json_lines
from tests.acceptance.stored import attempts, checkpoints
from tests.acceptance.test_serve import Server
from tests.support.servers.redis_server import redis_server
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="each engine needs a core"
)

REQUESTS = 300
INPUT = b"".join(
    line(f"q-{number}", f"Question {number}", max_tokens=4 + number % 40, seed=number)
    for number in range(REQUESTS)
)
SIMULATED = {
    "simulated_tokens_per_second": 20,
    "shard_requests": 10,
    "checkpoint_seconds": 0.2,
    "grace_seconds": 1,
}
TWO = ["--engines", "2"]


def submit(place, *options, **settings):
    """Start to run the input on two engines."""
    file = place.file("requests.jsonl", INPUT)
    command = ["submit", file, "--model", "demo", *TWO, *options]
    return place.start(*command, settings=SIMULATED | settings)


def answers(place):
    """Return the texts by custom_id; each id must be there once."""
    lines = json_lines(place.run("results", "latest").out)
    texts = {
        line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"]
        for line in lines
    }
    assert len(texts) == len(lines) == REQUESTS
    return texts


def shards_of(place):
    """Return how many shards each engine has finished."""
    logs = sorted((place.folder / "data" / "batchchat" / "logs").glob("*-?.log"))
    return [log.read_text().count(" is committed") for log in logs]


@pytest.fixture(scope="module")
def undisturbed(make_place):
    """The answers of one engine."""
    place = make_place()
    file = place.file("requests.jsonl", INPUT)
    fast = {"simulated_tokens_per_second": 100_000}
    assert place.run("submit", file, "--model", "demo", settings=fast).code == 0
    return answers(place)


def test_engines_share_one_queue_and_the_progress_shows_each(place, undisturbed):
    done = submit(place).end()
    assert done.code == 0, done.err
    assert answers(place) == undisturbed
    assert all(count > 0 for count in shards_of(place))
    assert sum(shards_of(place)) == REQUESTS / SIMULATED["shard_requests"]
    assert re.search(
        r"^  engine 1  core \d+  (\d+ running|starting)", done.err, re.MULTILINE
    )
    assert re.search(
        r"^  engine 2  core \d+  (\d+ running|starting)", done.err, re.MULTILINE
    )
    logs = place.run("logs", "latest").out.decode()
    assert logs.count("--- run of ") == 3  # the command's own, and one of each engine


def test_a_killed_engine_restarts_while_the_other_continues(place, undisturbed):
    run = submit(place)
    run.until(lambda: attempts(place.storage))
    one, other = run.until(lambda: two_engines(run.pid))
    os.kill(other, signal.SIGSTOP)  # so that the batch does not end meanwhile
    os.kill(one, signal.SIGKILL)
    run.until_it_says("died (the engine's process was ended by signal 9); restarting")
    assert other in engine_processes(run.pid)
    os.kill(other, signal.SIGCONT)
    done = run.end()
    assert done.code == 0, done.err
    assert re.search(r"engine [12] died \(.*\); restarting, 1 of 8", done.err)
    assert answers(place) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_engine_outlives_its_command(place, number, undisturbed):
    run = submit(place, simulated_tokens_per_second=5)
    run.until(lambda: checkpoints(place.storage))
    assert two_engines(run.pid)
    os.kill(run.pid, number)
    if number == signal.SIGINT:
        done = run.end()
        assert done.code == 130
        assert "continue with `batchchat resume" in done.err
    wait_until(lambda: not in_session(run.pid) and not engine_processes(run.pid))
    fast = {"simulated_tokens_per_second": 100_000}
    assert place.run("resume", "latest", settings=fast).code == 0
    assert answers(place) == undisturbed


def test_the_status_shows_each_engine(place):
    run = submit(place, simulated_tokens_per_second=2)
    batch_id = batch_id_of(run)
    wait_until(lambda: b"engine 2" in place.run("status", batch_id).out, seconds=120)
    shown = place.run("status", batch_id).out.decode()
    assert re.search(
        r"^  engine 1 +core \d+  \d+ running  .* tokens/s$", shown, re.MULTILINE
    )
    assert all(len(line) <= 80 for line in shown.splitlines())
    run.kill()


def test_a_server_runs_batches_on_several_engines(place):
    server = Server(place, *TWO, **SIMULATED, metrics=True)
    named = INPUT.replace(b'"messages"', b'"model":"demo","messages"')
    with server.client:
        path = f"/v1/batches/{server.create(server.upload(named)).json()['id']}"
        server.run.until(
            lambda: 'loaded{model="demo"} 2' in server.get("/metrics").text
        )
        killed = False
        while server.get(path).json()["status"] != "completed":
            processes = two_engines(server.runner())
            if not killed and processes and all(shards_of(place)):
                os.kill(processes[0], signal.SIGKILL)
                killed = True
            assert server.run.process.poll() is None
    assert answers(place)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--engines", "0"], "must be `auto` or a number"),
        (["--engines", "64"], "64 engines need 64 cores"),
        (["--engines", "2", "--gpus", "0,1"], "cannot use GPU `0`"),
        (["--engine", "data_parallel_size=2"], "`--engines`"),
    ],
)
@pytest.mark.parametrize("command", ["submit", "serve"])
def test_impossible_engines_are_an_error_before_anything_starts(
    place, command, options, problem
):
    of = {"submit": [place.file("in.jsonl", few(1)), "--model", "demo"], "serve": []}
    done = place.run(command, *of[command], *options, settings=SIMULATED)
    assert done.code == 2
    assert problem in done.err
    assert "Traceback" not in done.err


@pytest.mark.server
def test_a_worker_runs_several_engines_and_restarts_the_one_that_dies(place, tmp_path):
    with redis_server(tmp_path) as redis:
        cluster = RedisCluster(place, redis, redis.url)
        cluster.start(*TWO, engines=2)
        batch_id = cluster.submit(80, 150)
        worker = cluster.processes[-1]
        one, other = [it.pid for it in living() if it.parent == worker.pid]
        wait_until(lambda: len(attempts(place.storage)) > 1, seconds=120)
        shown = cluster.run("status", batch_id).out.decode()
        assert re.search(r"^  workers +2$", shown, re.MULTILINE)
        os.kill(one, signal.SIGKILL)
        cluster.wait_for(batch_id, "completed")
        logs = cluster.logs()
        assert "worker of engine" in logs
        ready = [one for one in json_lines(logs.encode()) if "ready" in one["message"]]
        assert {one["engine"] for one in ready} == {1, 2}
        assert "exited with status -9; restarting" in logs
        assert other in {it.pid for it in living()}
        assert len(json_lines(cluster.run("results", batch_id).out)) == 80
        os.kill(worker.pid, signal.SIGTERM)
        worker.end()
        wait_until(lambda: not [it for it in living() if it.pid == other])
