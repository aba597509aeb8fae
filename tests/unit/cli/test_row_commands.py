"""Commands that make requests of rows, without an engine."""

import json
import sys

import pytest

from batchchat.cli.main import main
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.storage import LocalStorage
from tests.support.table_rows import parquet_of

pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:Warning")
"""A process that ends closes its temporary files by ending."""

ROWS = {
    "id": ["a", "b", "c"],
    "question": ["Why?", "Who?", "When?"],
    "context": ["x", None, "z"],
}
TEMPLATE = """\
messages:
  - role: user
    content: "{{ question }}"
max_tokens: 5
stop: ["{{ id }}"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("BATCHCHAT_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "rows.parquet").write_bytes(parquet_of(ROWS))
    (tmp_path / "request.yaml").write_text(TEMPLATE)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command in this process; return its exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["batchchat", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capfd.readouterr()

    return run


def test_show_prints_requests_that_fit_into_80_columns(run, folder):
    long = parquet_of({"question": ["word " * 60 + "\n  code"], "id": ["x" * 30]})
    (folder / "long.parquet").write_bytes(long)
    code, out, err = run(
        "submit",
        "long.parquet",
        "--prompt={{ question }}",
        "--system=Be brief.",
        "--samples=3",
        "--id-column=id",
        "--show=2",
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"── {'x' * 30}-sample-1 · row 1 ──")
    assert lines[1] == "system     Be brief."
    assert lines[2].startswith("user       word word")
    assert "             code" in lines
    assert out.count("──  ") == 0
    assert out.count(" · row 1 ") == 2
    assert not (folder / "storage").exists()


def test_show_prints_the_parameters_and_names_a_row_that_cannot_be_rendered(run):
    _, out, _ = run("submit", "rows.parquet", "--template=request.yaml", "--show=1")
    assert "max_tokens 5\n" in out
    assert 'stop       ["a"]\n' in out
    code, out, _ = run("submit", "rows.parquet", "--prompt={{ context }}", "--show=2")
    assert code == 0
    assert "error      the prompt: `context` is null" in out


def test_show_prints_json_lines(run):
    _, out, _ = run(
        "submit", "rows.parquet", "--template=request.yaml", "--show=2", "--json"
    )
    bodies = [json.loads(line)["body"] for line in out.splitlines()]
    assert [body["stop"] for body in bodies] == [["a"], ["b"]]


def test_a_submitted_table_is_stored_with_its_options(run, folder):
    code, out, _ = run(
        "submit",
        "rows.parquet",
        "--prompt={{ question }}",
        "--model=demo",
        "--no-wait",
    )
    assert code == 0
    ledger = Ledger(LocalStorage(folder / "storage"), "default")
    batch = ledger.batch(out.strip())
    assert batch.rows
    assert batch.rows.prompt == "{{ question }}"
    stored = ledger.storage.get(ledger.keys.content(batch.input_file_id))
    assert stored.startswith(b"PAR1")
    assert request_lines_key(ledger.keys, batch).endswith("requests.jsonl")


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (["--prompt={{ quest }}"], "names `quest`", "did you mean `question`?"),
        (["--prompt=a", "--prompt-column=id"], "both give the messages", "choose one"),
        (["--samples=2"], "`--samples` needs rows", "--prompt"),
        (["--where=id == 'a'"], "`--where` needs rows", "--prompt"),
        (["--system=@no.txt", "--prompt=a"], "can't read `no.txt` of `--system`", "ls"),
        (["--template=no.yaml"], "can't read `no.yaml` of `--template`", "ls"),
        (["--template=rows.parquet"], "it is not UTF-8 text", "ls"),
        (["--prompt-column=who"], "names `who`", "the columns are `id`"),
        (["--prompt=a", "--id-column=key"], "names `key`", "the columns are"),
        (["--prompt=a"], "the requests of the rows name no model", "--model"),
    ],
)
def test_options_that_do_not_fit_store_nothing(run, folder, arguments, said, hint):
    model = [] if arguments == ["--prompt=a"] else ["--model=demo"]
    code, out, err = run("submit", "rows.parquet", *arguments, *model, "--no-wait")
    assert (code, out) == (2, "")
    error, _, hinted = err.partition("hint: ")
    assert said in " ".join(error.split())
    assert hint in hinted
    assert not list((folder / "storage").glob("projects/*/batches/*"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("messages: [", "is not valid YAML"),
        ('{"messages": }', "is not valid JSON"),
        ("- a\n", "holds no request body"),
        ("content: {{ question }}\n", "quote a string that begins with a template"),
    ],
)
def test_a_file_that_is_no_template_is_named(run, folder, text, said):
    (folder / "bad.yaml").write_text(text)
    code, _, err = run("validate", "rows.parquet", "--template=bad.yaml")
    assert code == 2
    assert "`bad.yaml`" in err
    assert said in " ".join(err.split())


def test_texts_may_be_in_files(run, folder):
    (folder / "prompt.txt").write_text("Q: {{ question }}\n")
    (folder / "system.txt").write_text("Be brief.\n")
    _, out, _ = run(
        "convert", "rows.parquet", "--prompt=@prompt.txt", "--system=@system.txt"
    )
    first = json.loads(out.splitlines()[0])["body"]["messages"]
    assert [message["content"] for message in first] == ["Be brief.", "Q: Why?"]


def test_converted_rows_are_the_requests_that_submit_runs(run):
    wish = ["rows.parquet", "--prompt={{ question }}", "--samples=2"]
    code, _, err = run("convert", *wish, "-o", "requests.jsonl")
    assert (code, "wrote 6 requests" in err) == (0, True)
    code, out, _ = run("validate", "requests.jsonl", "--model=demo", "--json")
    assert (code, json.loads(out)["request_counts"]["valid"]) == (0, 6)
    code, out, _ = run("convert", *wish, "--model=m")
    assert {json.loads(line)["body"]["model"] for line in out.splitlines()} == {"m"}


def test_convert_leaves_out_and_names_rows_that_cannot_be_rendered(run, folder):
    wish = ["convert", "rows.parquet", "--prompt={{ context }}", "-o", "out.jsonl"]
    code, _, err = run(*wish)
    assert code == 1
    assert "row 2: the prompt: `context` is null" in err
    assert len((folder / "out.jsonl").read_text().splitlines()) == 2
    code, out, _ = run(*wish, "--json")
    assert json.loads(out) == {
        "path": str(folder / "out.jsonl"),
        "requests": 2,
        "invalid_rows": [{"row": 2, "error": "the prompt: `context` is null"}],
    }


def test_validate_counts_rows_and_names_them(run):
    wish = ["validate", "rows.parquet", "--model=demo", "--samples=2"]
    code, _, err = run(*wish, "--prompt={{ question }}")
    assert (code, "is valid: 3 rows, 6 requests" in err) == (0, True)
    code, _, err = run(*wish, "--prompt={{ context }}")
    assert code == 1
    assert "  row 2  the prompt: `context` is null" in err
    assert "--prompt '{{ context }}'" in err  # in the hint
    _, out, _ = run(*wish, "--prompt={{ context }}", "--json")
    found = json.loads(out)
    assert found["row_counts"] == {"total": 3}
    assert {error["line"] for error in found["errors"]["data"]} == {2}


def test_validate_names_both_rows_with_one_id(run, folder):
    table = parquet_of({"id": ["x", "y", "x"], "text": ["a", "b", "c"]})
    (folder / "twice.parquet").write_bytes(table)
    code, _, err = run(
        "validate",
        "twice.parquet",
        "--prompt={{ text }}",
        "--id-column=id",
        "--model=demo",
    )
    assert code == 1
    assert "row 3  custom_id: `x` is already in row 1" in err


def test_estimate_counts_rows_and_names_those_that_cannot_run(run):
    wish = ["estimate", "rows.parquet", "--model=demo", "--prompt={{ context }}"]
    code, out, err = run(*wish, "--samples=2")
    assert code == 1
    assert out.startswith("rows      3\n")
    assert "  row 2\n" in err
    _, out, _ = run(*wish, "--samples=2", "--json")
    found = json.loads(out)
    assert (found["row_counts"], found["rows"]) == ({"total": 3}, [2])


def test_render_names_rows(run):
    wish = ["render", "rows.parquet", "--model=demo", "--prompt={{ context }}"]
    code, out, err = run(*wish)
    assert code == 1
    assert "── row-1 · row 1 · " in out
    assert "row 2: the prompt: `context` is null" in err
    _, out, _ = run(*wish, "--json")
    assert [json.loads(line)["row"] for line in out.splitlines()] == [1, 3]


def test_several_files_need_rows(run):
    code, _, err = run("validate", "rows.parquet", "rows.parquet")
    assert code == 2
    assert "2 files were given" in err
