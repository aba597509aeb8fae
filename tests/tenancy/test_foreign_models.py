"""A project can use the models of the catalog only, however it names another one."""

import json

import pytest

from batchchat.api.context import make_context
from batchchat.api.routes.create_batch import CreateBatchRequest, Deduplication, create
from batchchat.cli.commands import controller
from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.stored_files import store_file
from batchchat.jobs.planning.planner import make_plan, plan_limits
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import MemoryStorage
from batchchat.workers.control import main as control
from tests.support.input_lines import MESSAGES, line, with_body

MINE = Model(name="mine", source="org/mine", aliases=["other"])


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Fail the test if anything is downloaded."""

    def download(*names, **_):
        raise AssertionError(f"downloaded {names}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)


@pytest.fixture
def registry(monkeypatch):
    """The registry with which the command `controller` plans batches."""
    given = []
    monkeypatch.setattr(control, "run_controller", lambda *args: given.append(args))
    monkeypatch.setenv("BATCHCHAT_BROKER", "redis://nowhere")
    controller.controller(restart=False)
    return given[0][3]


@pytest.fixture
def foreign(tmp_path):
    """A folder on the operator's disk with a model and a template of the attacker."""
    (tmp_path / "config.json").write_text("{}")
    settings = {"chat_template": "{{ messages[0].content }} stolen"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


def planned(registry, raw, **options):
    """Create a batch as the API does, and plan it; return its problems and its plan."""
    ledger = Ledger(MemoryStorage(), "attacker")
    file = store_file(ledger, [raw + b"\n"], "in.jsonl")
    batch = created(ledger, file, registry.catalog, **options)
    plan = make_plan(ledger, batch, registry, plan_limits(Settings()))
    return [problem.code for problem in plan.problems], plan


def created(ledger, file, catalog, **options):
    """Create a batch as the API does."""
    storage = ledger.storage
    context = make_context(
        Settings(), catalog.restricted(), storage, loopback_only=True
    )
    body = CreateBatchRequest(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        **options,
    )
    return create(context, ledger, body, Deduplication(None, None))


@pytest.mark.parametrize("on_invalid", ["fail", "skip"])
def test_the_controller_opens_no_folder_that_a_line_names(
    registry, foreign, on_invalid
):
    codes, plan = planned(
        registry, with_body(model=str(foreign)), on_invalid=on_invalid
    )
    assert codes == ["model_not_found"]
    assert plan.shards == []
    assert plan.model is None


def test_a_line_cannot_probe_the_disk(registry, foreign):
    names = [str(foreign), str(foreign / "missing"), "~", "/etc", "../..", "."]
    messages = {
        name: planned(registry, with_body(model=name))[1].problems[0].message
        for name in names
    }
    assert len({m.replace(f"`{n[:80]}`", "") for n, m in messages.items()}) == 1


def test_the_controller_downloads_nothing_that_a_line_names(registry):
    for name in ("org/secret", "gpt2", "https://example.com/model", "org/secret@main"):
        assert planned(registry, with_body(model=name))[0] == ["model_not_found"]


def test_a_later_line_cannot_name_another_model(registry, foreign):
    first = line(custom_id="a", body={"messages": MESSAGES, "model": "demo"})
    second = line(custom_id="b", body={"messages": MESSAGES, "model": str(foreign)})
    codes, plan = planned(registry, first + b"\n" + second)
    assert codes == ["mismatched_model"]
    assert plan.model.name == "demo"


class NoFiles(RendererRegistry):
    def get_if_local(self, model):
        """Return none: prompts are not checked."""


def test_the_model_is_resolved_when_the_batch_is_created(tmp_path):
    ledger = Ledger(MemoryStorage(), "p")
    file = store_file(ledger, [with_body(model="other")], "in.jsonl")
    batch = created(ledger, file, Catalog({"mine": MINE}))
    later = Catalog({"new": Model(name="new", source="org/new", aliases=["other"])})
    registry = NoFiles(later, tmp_path)
    plan = make_plan(ledger, batch, registry, plan_limits(Settings()))
    assert plan.model == MINE
    assert plan.requests == 1
