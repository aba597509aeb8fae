"""Messages during a run that must not be lost behind the progress line."""

import re

import pytest

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.progress import ProgressDisplay, run_progress_line
from batchchat.jobs.execution.progress import Progress
from tests.support.wait import wait_until


@pytest.fixture
def progress():
    return Progress()


def displayed(progress, *, show_progress):
    return ProgressDisplay(
        run_progress_line(progress),
        show_progress=show_progress,
        notices=progress.notices,
    )


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_notice_is_printed_once_while_progress_is_shown(
    progress, capsys, monkeypatch, is_terminal
):
    monkeypatch.setattr(streams, "stderr_is_terminal", lambda: is_terminal)
    display = displayed(progress, show_progress=True)
    progress.notices.append("engine died (x); restarting, 1 of 8")
    wait_until(lambda: not progress.notices)
    display.stop()
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert printed.count("engine died (x); restarting, 1 of 8") == 1


def test_notices_are_printed_without_progress_too(progress, capsys):
    display = displayed(progress, show_progress=False)
    progress.notices.append("engine died (x); restarting, 1 of 8")
    display.stop()
    assert capsys.readouterr().err == "engine died (x); restarting, 1 of 8\n"
