"""What `docs/results.md` shows works on the results of a batch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.results.export import export
from batchchat.jobs.rows.row_options import RowOptions
from tests.support.ended import Hand, echo
from tests.support.row_batches import ended_rows

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
SNIPPETS = [
    snippet
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    if "FOLDER" not in snippet  # tests/acceptance/test_dataset_export.py loads one
]
LABEL = {"names": ["no", "yes"], "_type": "ClassLabel"}
TABLE = pa.table(
    {
        "id": [1, 2, 3],
        "prompt": ["a", "b", "c"],
        "content": [[1.5], None, []],
        "label": [1, 1, 0],
    }
).replace_schema_metadata(
    {"huggingface": json.dumps({"info": {"features": {"label": LABEL}}})}
)
TRL = """
import json

class SFTTrainer:
    def __init__(self, model, train_dataset):
        self.train_dataset = train_dataset
"""
"""Stands for TRL, which needs torch: it keeps the dataset."""

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}"
)


def answer(request):
    if request.line == 2:
        return RequestRefusedError("no", code="x")
    return echo(request)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the results of three rows, one of which has failed."""
    folder = tmp_path_factory.mktemp("results")
    hand = Hand()
    rows = RowOptions(prompt_column="prompt", system="Be brief.")
    state = ended_rows(hand, TABLE, answer, rows=rows)
    export(hand.ledger, state.batch.id, folder / "results.jsonl", "both")
    (folder / "trl.py").write_text(TRL)
    return folder


def run(folder, snippet, show):
    """Run a snippet as a user does, and return the JSON that `show` prints."""
    script = folder / "snippet.py"
    script.write_text(f"{snippet}\nimport json\nprint('SHOWN', json.dumps({show}))\n")
    home = {"HOME": str(folder), "HF_HUB_OFFLINE": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=folder,
        env=home,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("SHOWN ")[2])


def snippet_with(text):
    [found] = [one for one in SNIPPETS if text in one]
    return found


COLUMNS = {
    "pandas.read_parquet": "completed['{}'].tolist()",
    "polars.scan": "completed['{}'].to_list()",
    "duckdb": "[row[0] for row in completed.select('{}').fetchall()]",
    "pandas.read_json": "completed['{}'].tolist()",
}
"""How to get a column of `completed`, by a text of the snippet."""


@pytest.mark.parametrize("reader", COLUMNS)
def test_each_reader_gets_the_completed_rows(folder, reader):
    names = ("id", "prompt", "content", "prompt_text", "row")
    show = ", ".join(f"'{name}': {COLUMNS[reader].format(name)}" for name in names)
    assert run(folder, snippet_with(reader), f"{{{show}}}") == {
        "id": [1, 3],
        "prompt": ["a", "c"],
        "content": ["re: a", "re: c"],
        "prompt_text": ["a", "c"],
        "row": [1, 3],
    }


def test_datasets_reads_columns_of_both_kinds(folder):
    snippet = next(one for one in SNIPPETS if "load_dataset" in one)
    names = "['id', 'input_content', 'content', 'status']"
    assert run(folder, snippet, f"completed.select_columns({names}).to_list()") == [
        {"id": 1, "input_content": [1.5], "content": "re: a", "status": "completed"},
        {"id": 3, "input_content": [], "content": "re: c", "status": "completed"},
    ]


def test_datasets_keeps_the_names_of_labels(folder):
    snippet = next(one for one in SNIPPETS if "load_dataset" in one)
    show = "[rows.features['label'].names, completed['label'][:]]"
    assert run(folder, snippet, show) == [["no", "yes"], [1, 0]]


def test_trl_gets_conversations_that_a_chat_template_renders(folder):
    """TRL's rules: a list of messages with role and content, and nothing beside them.

    A column `prompt` would be taken for the prompt of a prompt-completion pair.
    """
    examples = run(folder, snippet_with("SFTTrainer"), "[*trainer.train_dataset]")
    template = ImmutableSandboxedEnvironment().from_string(CHATML)
    for example, text in zip(examples, ("a", "c"), strict=True):
        assert [*example] == ["messages", "tools"]
        assert example["tools"] is None
        assert [message["role"] for message in example["messages"]] == [
            "system",
            "user",
            "assistant",
        ]
        assert template.render(messages=example["messages"]) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            f"<|im_start|>user\n{text}<|im_end|>\n"
            f"<|im_start|>assistant\nre: {text}<|im_end|>\n"
        )


def test_every_snippet_is_run():
    assert len(SNIPPETS) == len(COLUMNS) + 2
