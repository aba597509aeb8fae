"""`results --dataset` writes a folder that readers open, and uploads it."""

import json

import pytest

from tests.acceptance.serving import Serving
from tests.support import duckdb_query
from tests.support.ended import whole
from tests.support.servers.hub_server import hub_server

pytestmark = pytest.mark.slow

DATA = b"".join(whole(f"q-{n}", f"question {n}") + b"\n" for n in range(5))
IDS = [f"q-{n}" for n in range(5)]


@pytest.fixture(scope="module")
def server(make_place):
    server = Serving(make_place())
    server.start()
    return server


@pytest.fixture(scope="module")
def batch_id(server):
    return server.hand.ended(DATA).batch.id


@pytest.fixture
def hub():
    with hub_server() as hub:
        yield hub


@pytest.mark.parametrize("where", ["here", "through a server"])
def test_datasets_polars_and_duckdb_open_the_folder(server, batch_id, where, tmp_path):
    import datasets
    import polars as pl

    run = server.place.run if where == "here" else server.ask
    folder = tmp_path / "set"
    done = run("results", batch_id, "--dataset", folder, "--only", "completed")
    assert (done.code, done.out) == (0, b""), done.err
    assert "add a license to" in done.err
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["custom_id"][:] == IDS
    assert loaded["train"][0]["messages"][-1]["content"] == "re: question 0"
    pattern = folder / "data/*.parquet"
    assert pl.read_parquet(pattern)["custom_id"].to_list() == IDS
    found = duckdb_query.query("SELECT custom_id FROM read_parquet(?)", pattern)
    assert [row["custom_id"] for row in found] == IDS
    again = run("results", batch_id, "--dataset", folder)
    assert again.code == 2
    assert "it exists" in again.err
    assert run("results", batch_id, "--dataset", folder, "--force").code == 0


def test_a_dataset_is_uploaded_as_a_private_one(server, batch_id, hub):
    push = ["results", batch_id, "--dataset", "pushed", "--push", "org/answers"]
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token}
    done = run_with(server, settings, *push)
    assert done.code == 0, done.err
    assert done.out.decode().strip() == f"{hub.url}/datasets/org/answers"
    folder = server.place.folder / "pushed"
    assert hub.datasets["org/answers"] == {
        name: (folder / name).read_bytes()
        for name in ("README.md", "data/train-00000-of-00001.parquet")
    }
    assert hub.private == {"org/answers": True}
    assert hub.messages == [f"Results of {batch_id}"]
    again = run_with(server, settings, *push, "--force")
    assert again.code == 0, again.err
    for text in (done.err, again.err):
        assert hub.token not in text


@pytest.mark.parametrize(
    "case",
    [
        ("org/x", {"HF_TOKEN": ""}, "no token for the Hugging Face Hub"),
        ("org/x", {"HF_TOKEN": "hf_wrong"}, "refused to write `org/x`"),
        ("org/x", {"HF_ENDPOINT": "http://127.0.0.1:1"}, "can't reach the Hugging"),
        ("org/x", {"HF_HUB_OFFLINE": "1"}, "can't reach the Hugging Face Hub"),
        ("x", {}, "`x` is not the name of a repository"),
        ("org/../x", {}, "is not the name of a repository"),
    ],
)
def test_a_refused_upload_names_the_reason(server, batch_id, hub, tmp_path, case):
    name, settings, error = case
    known = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token}
    push = ["results", batch_id, "--dataset", tmp_path / "set", "--push", name]
    done = run_with(server, known | settings, *push)
    assert done.code == 2
    assert error in done.err
    assert "hint: " in done.err
    assert "Traceback" not in done.err
    for token in (hub.token, "hf_wrong"):
        assert token not in done.err


def run_with(server, variables, *arguments):
    """Run a command with more variables of its environment."""
    before = dict(server.place.environment)
    server.place.environment.update(variables)
    try:
        return server.place.run(*arguments)
    finally:
        server.place.environment.clear()
        server.place.environment.update(before)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--push", "a/b"], "`--push` requires `--dataset`"),
        (["--force"], "`--force` requires `--dataset`"),
        (["--dataset", "s", "--head", "1"], "can't be combined"),
        (["--dataset", "s", "--output", "x.jsonl"], "can't be combined"),
        (["--dataset", "s", "--format", "jsonl"], "can't be combined"),
    ],
)
def test_options_that_exclude_each_other_are_an_error(server, batch_id, options, error):
    done = server.place.run("results", batch_id, *options)
    assert (done.code, done.out) == (2, b"")
    assert error in done.err


def test_a_batch_that_has_not_ended_has_no_dataset(server):
    running = server.hand.submit(DATA)
    done = server.place.run("results", running, "--dataset", "never")
    assert done.code == 2
    assert "has not ended" in done.err
    assert not (server.place.folder / "never").exists()
    assert json.loads(server.place.run("status", running, "--json").out)
