"""No command lets a file or a server control the terminal (CWE-150)."""

import io
import json
import logging
import re
import sys
from collections import deque

import pytest

from batchchat.cli.commands import keys
from batchchat.cli.main import app, main
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.progress import ProgressDisplay
from batchchat.cli.terminal.progress_line import Part, ProgressLine
from batchchat.jobs.errors import ConfigError
from batchchat.jobs.logs import start_logging
from batchchat.workers.engine.log_file import engine_log_path
from tests.support.servers.hostile_server import (
    BATCH_ID,
    HOSTILE,
    hostile_batch,
    hostile_server,
)
from tests.support.wait import wait_until

UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
BATCH = hostile_batch()
ID = BATCH_ID
ARGUMENT = HOSTILE.replace("\0", "")
LINES = [
    json.dumps({"messages": [{"role": "user", "content": HOSTILE}]}),
    json.dumps({"custom_id": HOSTILE, "messages": [{"role": HOSTILE}]}),
    json.dumps({"messages": [], HOSTILE: 1}, ensure_ascii=False),
    json.dumps({"messages": [{"role": "user", "content": "x"}], "model": HOSTILE}),
    HOSTILE.replace("\n", ""),
]
FROM_SERVER = [
    ("status", ID),
    ("list",),
    ("watch", ID),
    ("results", ID),
    ("results", ID, "--errors"),
    ("results", ID, "--head", "1"),
    ("results", ID, "--output", "results.jsonl"),
    ("cancel", ID),
    ("delete", ID, "--yes"),
    ("prune", "--older-than", "1s", "--yes"),
    ("resume", ID),
    ("retry", ID),
    ("submit", "in.jsonl", "--model", "m", "--output", f"{ARGUMENT}.jsonl"[-40:]),
    ("submit", "in.jsonl", "--no-wait"),
    ("models",),
    ("doctor", "--model", ARGUMENT),
]
WITH_JSON = [
    ("status", ID),
    ("list",),
    ("watch", ID),
    ("cancel", ID),
    ("resume", ID),
    ("retry", ID),
    ("submit", "in.jsonl", "--model", "m"),
    ("models",),
    ("doctor",),
]
FROM_FILES = [
    ("validate", "in.jsonl"),
    ("validate", "in.jsonl", "--json"),
    ("validate", ARGUMENT),
    ("validate", "in.jsonl", "--model", ARGUMENT),
    ("render", "in.jsonl", "--model", "demo"),
    ("render", "in.jsonl", "--model", "demo", "--json"),
    ("estimate", "in.jsonl", "--model", "demo"),
    ("estimate", ARGUMENT),
    ("submit", "in.jsonl", "--show", "9"),
    ("submit", "in.jsonl", "--show", "9", "--json"),
    ("submit", "in.jsonl", "--prompt", "{{ messages }}", "--show", "9"),
    ("convert", "in.jsonl", "--model", "demo"),
    ("convert", "in.jsonl", "--prompt", ARGUMENT),
    ("submit", "in.jsonl", "--model", "demo"),
    ("submit", ARGUMENT, "--model", "demo"),
    ("submit", "in.jsonl", "--model", ARGUMENT),
    ("submit", "in.jsonl", "--metadata", ARGUMENT),
    ("status", ARGUMENT),
    ("list", "--limit", ARGUMENT),
    ("watch", ARGUMENT),
    ("results", ARGUMENT),
    ("cancel", ARGUMENT),
    ("delete", ARGUMENT, "--yes"),
    ("prune", "--older-than", ARGUMENT, "--yes"),
    ("resume", ARGUMENT),
    ("retry", ARGUMENT),
    ("verify", ARGUMENT),
    ("logs", ARGUMENT),
    ("logs", ID),
    ("models",),
    ("worker", "--model", ARGUMENT),
    ("controller",),
    ("doctor", "--model", ARGUMENT),
    ("serve", "--host", ARGUMENT),
    ("keys", "create", "--project", ARGUMENT),
    ("keys", "create", "--name", ARGUMENT),
    ("keys", "list"),
    ("keys", "revoke", ARGUMENT),
    (ARGUMENT,),
    ("status", f"--{ARGUMENT}"),
]

pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in:Warning"),
    pytest.mark.slow,
]
"""A process that ends closes its temporary files by ending."""


def _name(arguments):
    """Return a name for a case without hostile characters."""
    return " ".join("ARGUMENT" if "forged" in it else it for it in arguments)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home with a hostile input file and a hostile engine log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("BATCHCHAT_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("BATCHCHAT_RETRY_TIMEOUT_SECONDS", "0")
    (tmp_path / "in.jsonl").write_text("\n".join(LINES) + "\n", "utf-8")
    log = engine_log_path(ID)
    log.parent.mkdir(parents=True)
    log.write_bytes(HOSTILE.encode() + b"\xff\x9b step 1\r step 2\r\n")


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command in this process; return its stdout and stderr, which are safe."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["batchchat", *arguments])
        with pytest.raises(SystemExit):
            main()
        out, err = capfd.readouterr()
        return out, err

    return run


def assert_safe(*texts):
    for text in texts:
        assert not UNSAFE.search(text), ascii(text)
        assert "\nerror: forged" not in text


@pytest.mark.parametrize("arguments", FROM_SERVER, ids=_name)
@pytest.mark.parametrize("error", [None, 400, 401, 307, 502])
def test_a_server_cannot_control_the_terminal(run, monkeypatch, arguments, error):
    with hostile_server(BATCH, error) as url:
        monkeypatch.setenv("BATCHCHAT_URL", url)
        out, err = run(*arguments)
    is_data = error is None and arguments[0] == "results"
    assert_safe("" if is_data else out, err)


@pytest.mark.parametrize("arguments", WITH_JSON, ids=_name)
def test_json_output_has_the_exact_values(run, monkeypatch, arguments):
    with hostile_server(BATCH) as url:
        monkeypatch.setenv("BATCHCHAT_URL", url)
        out, err = run(*arguments, "--json")
    assert_safe(out, err)
    assert arguments[0] == "doctor" or HOSTILE in _strings(json.loads(out))


def _strings(value):
    """Return all strings in a JSON value, joined."""
    if isinstance(value, dict):
        return "".join(map(_strings, value.values()))
    if isinstance(value, list):
        return "".join(map(_strings, value))
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize("arguments", FROM_FILES, ids=_name)
def test_files_and_arguments_cannot_control_the_terminal(run, arguments):
    keys.create(project="default", name=HOSTILE)
    out, err = run(*arguments)
    assert out or err
    is_text = arguments[0] in {"render", "logs"}
    assert_safe(out.replace("\n", "") if is_text else out, err)


def test_every_command_is_tried():
    tried = {arguments[0] for arguments in FROM_SERVER + FROM_FILES}
    names = {command.name for command in app.registered_commands}
    assert names | {"keys"} <= tried
    assert {command.name for command in keys.app.registered_commands} <= {
        arguments[1] for arguments in FROM_FILES if arguments[0] == "keys"
    }


class Terminal(io.TextIOWrapper):
    """A stream that claims to be a terminal."""

    def __init__(self):
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8")

    def isatty(self):
        return True

    def text(self):
        self.flush()
        return self._bytes.getvalue().decode()


def test_results_are_escaped_on_a_terminal_only(monkeypatch):
    line = json.dumps({"content": HOSTILE}, ensure_ascii=False) + "\n"
    terminal = Terminal()
    monkeypatch.setattr(streams, "stdout", lambda: terminal)
    data = line.encode()
    streams.print_results(data[i : i + 7] for i in range(0, len(data), 7))
    assert_safe(terminal.text())
    assert json.loads(terminal.text()) == {"content": HOSTILE}


def test_a_terminal_gets_colors_but_no_other_control_characters(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(streams, "stderr", lambda: terminal)
    streams.print_error(ConfigError(HOSTILE, hint=HOSTILE))
    streams.info("wrote ", streams.Styled(HOSTILE, "cyan"))
    text = terminal.text()
    assert text.count("\x1b[") == 6
    assert_safe(re.sub(r"\x1b\[(31|36|0)m", "", text))


@pytest.mark.parametrize("as_json", [True, False])
def test_a_log_line_cannot_be_forged(as_json):
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    try:
        start_logging(stream, as_json=as_json)
        logging.getLogger("test").info("batch %s", HOSTILE)
        error = ValueError(HOSTILE)
        logging.getLogger("test").error(HOSTILE, exc_info=error)
    finally:
        root.handlers[:], root.level = before
    assert_safe(stream.getvalue())
    first, *_ = stream.getvalue().splitlines()
    assert "forged" in first


def test_the_progress_line_and_notices_are_escaped(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(streams, "stderr", lambda: terminal)
    line = ProgressLine("waiting", (Part(HOSTILE),))
    display = ProgressDisplay(
        lambda: line, show_progress=True, notices=deque([HOSTILE, HOSTILE])
    )
    wait_until(lambda: terminal.text().count("forged") > 2, "the line and the notices")
    display.stop()
    assert not re.search("\x1b]|[\x07\x08\x9b\u202e\u2066]", terminal.text())
