"""`--engine` overrides the catalog's engine arguments, and is recorded like them."""

import json
import signal

import pytest

from tests.acceptance.inputs import few, line
from tests.acceptance.stored import checkpointed, checkpoints
from tests.acceptance.test_serve import Server

FAST = {"simulated_tokens_per_second": 10_000}
SLOW = {"simulated_tokens_per_second": 5, "checkpoint_seconds": 0.2}
QUICK = 20
CATALOG = b"[models.demo.engine]\nmax_model_len = 1024\nmax_num_seqs = 4\n"


def arguments_of(batch):
    return [engine["arguments"] for engine in batch["engines"].values()]


def test_options_are_recorded_and_kept_until_others_are_given(place):
    file = place.file("requests.jsonl", few(QUICK) + line("slow", max_tokens=400))
    config = {"config": place.file("catalog.toml", CATALOG)}
    chosen = ["--engine", "max_model_len=512", "--engine", "dtype=float32"]
    first = place.start(
        "submit", file, "--model", "demo", *chosen, settings=SLOW | config
    )
    first.until(lambda: len(checkpointed(checkpoints(place.storage))) == QUICK)
    first.signal(signal.SIGKILL)
    first.process.wait()
    batch_id = first.out.read_text().strip()
    planned = next(place.storage.rglob("plan.json")).read_bytes()
    submitted = {"max_model_len": 512, "max_num_seqs": 4, "dtype": "float32"}
    assert json.loads(planned)["model"]["engine"] == submitted
    again = place.start("resume", batch_id, settings=SLOW | config)
    again.until_it_says("running")
    again.signal(signal.SIGKILL)
    again.process.wait()
    assert "engine arguments have changed" not in again.err.read_text()
    other = ["--engine", "max_model_len=1000"]
    last = place.run("resume", batch_id, *other, "--json", settings=FAST | config)
    assert last.code == 0, last.err
    assert "max_model_len 512 -> 1000; max_model_len can affect" in last.err
    found = arguments_of(last.json())
    assert found == [submitted, submitted | {"max_model_len": 1000}]


def test_a_retry_keeps_the_options(place):
    file = place.file("requests.jsonl", few() + line("slow", max_tokens=400))
    option = ["--engine", "max_model_len=512"]
    slow = place.start("submit", file, "--model", "demo", *option, settings=SLOW)
    slow.until(lambda: checkpoints(place.storage))
    slow.kill()
    assert place.run("cancel", "latest").code == 0
    again = place.run("retry", "latest", "--json", settings=FAST)
    assert arguments_of(again.json()) == [{"dtype": "float32", "max_model_len": 512}]


def test_the_engines_of_a_server_have_the_options(place):
    server = Server(place, "--engine", "max_num_seqs=8", **FAST)
    with server.client:
        file_id = server.upload(
            few().replace(b'"messages"', b'"model":"demo","messages"')
        )
        path = f"/v1/batches/{server.create(file_id).json()['id']}"
        server.run.until(lambda: server.get(path).json()["status"] == "completed")
        (arguments,) = arguments_of(server.get(path).json())
    assert arguments == {"dtype": "float32", "max_num_seqs": 8}


@pytest.mark.parametrize(
    ("command", "service"),
    [
        ("submit", {"broker": "redis://localhost:1/0"}),
        ("submit", {"url": "http://localhost:1"}),
        ("resume", {"broker": "redis://localhost:1/0"}),
    ],
)
def test_options_are_refused_where_other_processes_run_the_batch(
    place, command, service
):
    file = place.file("requests.jsonl", few(1))
    of = {"submit": [file, "--model", "demo"], "resume": [place.hand_in(file)]}
    option = ["--engine", "max_num_seqs=4"]
    done = place.run(command, *of[command], *option, settings=service)
    assert done.code == 2
    assert "`--engine` has no effect here" in done.err
    assert "batchchat worker" in done.err


@pytest.mark.engine
@pytest.mark.parametrize("command", ["submit", "serve", "worker", "resume"])
def test_an_unknown_option_is_an_error_before_anything_starts(place, command):
    file = place.file("requests.jsonl", few(1))
    settings = {"broker": "redis://localhost:1/0"} if command == "worker" else {}
    of = {
        "submit": [file, "--model", "demo"],
        "worker": ["--model", "demo"],
        "resume": [place.hand_in(file)],
        "serve": [],
    }
    option = ["--engine", "max_num_seq=4"]
    done = place.run(command, *of[command], *option, engine=True, settings=settings)
    assert done.code == 2
    assert "did you mean `max_num_seqs`?" in done.err
    assert len(place.run("list", "--json").json()["data"]) == 1
