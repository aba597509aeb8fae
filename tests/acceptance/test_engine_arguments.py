"""A batch resumes with the engine arguments that the catalog has then."""

import json
import signal

import pytest

from tests.acceptance.inputs import few, line
from tests.acceptance.stored import checkpointed, checkpoints

SIMULATED = {"simulated_tokens_per_second": 5, "checkpoint_seconds": 0.2}
QUICK = 20
SLOW = line("fits", "Slow", max_tokens=400) + line(
    "too-long", "Slow " * 300, max_tokens=400
)
CATALOG = b"[models.demo.engine]\nmax_model_len = %d\n"


def test_resume_uses_the_current_arguments_and_reports_them(place):
    file = place.file("requests.jsonl", few(QUICK) + SLOW)
    large = place.file("large.toml", CATALOG % 2048)
    small = place.file("small.toml", CATALOG % 256)
    first = place.start(
        "submit", file, "--model", "demo", settings=SIMULATED | {"config": large}
    )
    first.until(lambda: len(checkpointed(checkpoints(place.storage))) == QUICK)
    first.signal(signal.SIGKILL)
    first.process.wait()
    batch_id = first.out.read_text().strip()
    fast = {"simulated_tokens_per_second": 10_000, "config": small}
    resumed = place.run("resume", batch_id, "--json", settings=fast)
    assert resumed.code == 1  # one request failed
    assert "max_model_len 2048 -> 256; max_model_len can affect" in resumed.err
    batch = resumed.json()
    assert batch["request_counts"] == {
        "total": QUICK + 2,
        "completed": QUICK + 1,
        "failed": 1,
    }
    arguments = [engine["arguments"] for engine in batch["engines"].values()]
    assert [it["max_model_len"] for it in arguments] == [2048, 256]
    failed = place.run("results", batch_id, "--errors").out
    assert json.loads(failed)["custom_id"] == "too-long"
    status = place.run("status", batch_id).out.decode()
    assert "max model len 2048 and 256" in status


INVALID = {
    "max_modl_len = 2048": "did you mean `max_model_len`?",
    "dtype = 'float17'": "must be `auto` or `bfloat16`",
    "tensor_parallel_size = 64": "64 requires 64 GPUs, and this process can use",
    "pipeline_parallel_size = 64": "64 requires 64 GPUs, and this process can use",
}


@pytest.mark.engine
@pytest.mark.parametrize(("argument", "problem"), INVALID.items())
def test_an_engine_that_cannot_start_is_an_error_before_a_batch_is_stored(
    place, argument, problem
):
    file = place.file("requests.jsonl", few(1))
    text = f"[models.demo.engine]\n{argument}\n"
    local = {"config": place.file("catalog.toml", text.encode())}
    cluster = local | {"broker": "redis://localhost:1/0"}
    for command, settings in ((["submit", file], local), (["worker"], cluster)):
        done = place.run(*command, "--model", "demo", engine=True, settings=settings)
        assert done.code == 2
        assert problem in done.err
        assert "[models.demo.engine]" in done.err
    assert place.run("list", "--json").json()["data"] == []


@pytest.mark.engine
def test_invalid_arguments_of_a_model_that_lines_name_are_an_error(place):
    named = few(1).replace(b'"messages"', b'"model": "demo", "messages"')
    file = place.file("requests.jsonl", named)
    catalog = place.file("catalog.toml", b"[models.demo.engine]\nxyzzy = 1\n")
    how = {"engine": True, "settings": {"config": catalog}}
    done = place.run("submit", file, **how)
    assert done.code == 2
    assert "vLLM has no engine argument `xyzzy`" in done.err
    assert place.run("list", "--json").json()["data"] == []
    assert not list(place.storage.rglob("content"))
    doctor = place.run("doctor", **how)
    assert doctor.code == 1
    assert "vLLM has no engine argument `xyzzy`" in doctor.out.decode()
