"""Checking a file says what it could not check."""

from pathlib import Path

import pytest

from batchchat.cli.backends.session import Session
from batchchat.cli.commands.check_file import check_requests
from batchchat.cli.commands.request_source import open_requests
from batchchat.cli.terminal.row_arguments import RowArguments
from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.settings import Settings
from batchchat.jobs.storage import MemoryStorage
from tests.support.ended import whole

TEMPLATE = "{{ bos_token }}{{ messages[0].content }}"
ABSENT = "org/not-at-hand"


def session(**fields):
    models = {"m": Model(name="m", source=ABSENT, **fields)}
    return Session(
        Settings(storage="memory://"),
        Catalog(models),
        Ledger(MemoryStorage(), "default"),
    )


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({}, "the prompts are not checked"),
        (
            {
                "chat_template": TEMPLATE,
                "special_tokens": {"bos_token": "<s>"},
                "context_length": 20,
            },
            "the lengths of the prompts are not checked",
        ),
    ],
)
def test_missing_files_of_a_model_are_reported(
    tmp_path: Path, monkeypatch, capsys, fields, what
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = tmp_path / "in.jsonl"
    file.write_bytes(whole("a", "x"))
    with open_requests([str(file)], RowArguments()) as source:
        found = check_requests(session(**fields), source, "m")
    found.problems.close()
    assert found.problem_count == 0
    err = capsys.readouterr().err
    assert what in err
    assert "files of `m` are not available" in err
