"""The progress line at different widths."""

import pytest

from batchchat.cli.terminal import streams
from batchchat.cli.terminal.progress import run_progress_line
from batchchat.cli.terminal.progress_line import fit, full_text
from batchchat.jobs.catalog.download_watch import DownloadWatch
from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.engine.protocol import EngineActivity
from batchchat.jobs.execution.progress import EngineProgress, Progress
from batchchat.jobs.ledger.records import Counts
from tests.support.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    progress = Progress(clock)
    progress.start(Counts(1_000))
    progress.total = 1_000
    return progress


def generate(progress, clock, seconds, **activity):
    """Let a run generate 1,000 tokens and 10 results a second."""
    for _ in range(seconds * 4):
        clock.now += 0.25
        tokens = progress.usage.output_tokens + 250
        progress.update(Counts(), Counts(0, tokens // 100), Usage(output_tokens=tokens))
        shown = {"running": 64, "waiting": 64, **activity}
        progress.observe(EngineActivity(1, tokens, 0, idle_seconds=0.0, **shown))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_estimated_time_fits_every_width(progress, clock, width):
    generate(progress, clock, 20)
    line = fit(run_progress_line(progress)(), width)
    assert len(line) <= width
    assert "1m 20s left" in line
    assert line.startswith("20%" if width == 60 else "━")


def test_a_wide_line_shows_the_requests_in_the_engine(progress, clock):
    generate(progress, clock, 20)
    line = fit(run_progress_line(progress)(), 120)
    assert "64 running, 64 waiting  1,000 tokens/s  about 1m 20s left" in line


def test_failed_requests_are_shown_once_there_are_any(progress, clock):
    generate(progress, clock, 20)
    assert "failed" not in full_text(run_progress_line(progress)())
    progress.counts = Counts(0, 100, 3)
    assert "3 failed" in full_text(run_progress_line(progress)())


def test_no_time_is_estimated_before_the_speed_is_stable(progress, clock):
    generate(progress, clock, 3)
    assert "left" not in full_text(run_progress_line(progress)())


def test_an_engine_without_a_step_for_three_seconds_is_warming_up(progress):
    progress.observe(EngineActivity(0, 0, 0, 0, 128, idle_seconds=3.5))
    assert "warming up" in full_text(run_progress_line(progress)())


def test_a_pause_between_steps_is_shown_with_its_length(progress):
    progress.observe(EngineActivity(5, 10, 0, 128, 0, idle_seconds=12.2))
    assert "no step for 12s" in full_text(run_progress_line(progress)())


def test_the_steps_of_loading_a_model_are_shown(progress):
    progress.phase = "loading"
    progress.on_loading_step("reading the weights")
    line = full_text(run_progress_line(progress)())
    assert line == "loading the model: reading the weights"


def test_the_bytes_of_a_download_are_shown_while_it_grows(progress, clock, tmp_path):
    watch = DownloadWatch(tmp_path / "blobs", clock)
    progress.phase = "loading"
    progress.on_loading_step("reading the weights", watch)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "weights.incomplete").write_bytes(b"x" * 1_200)
    describe = run_progress_line(progress)
    assert "downloading, 1.2 kB so far" in full_text(describe())
    clock.now += 10
    assert "reading the weights" in full_text(describe())


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert streams.stderr_is_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not streams.stderr_is_terminal()


ENGINES = [
    EngineProgress(1, "GPU 0,1,2,3", "", 1_024, 12_345.6),
    EngineProgress(2, "GPU MIG-33333333-aaaa-bbbb-cccc-000000000000", "", 8, 0.0),
    EngineProgress(3, "GPU 4", "loading: reading the weights", 0, 0.0),
    EngineProgress(4, "core 0", "cannot run", 0, 0.0),
]


@pytest.mark.parametrize("width", [40, 60, 79])
@pytest.mark.parametrize("phase", ["loading", "running"])
def test_each_of_several_engines_has_a_line_that_fits(progress, phase, width):
    progress.phase, progress.engines = phase, ENGINES
    shown = [fit(line, width) for line in run_progress_line(progress)().details]
    assert all(len(line) <= width for line in shown)
    states = ["1,024 running", "8 running", "reading the weights", "cannot run"]
    for number, (line, state) in enumerate(zip(shown, states, strict=True), start=1):
        assert line.startswith(f"  engine {number}  ")
        assert state in line
    assert ("12.3k tokens/s" in shown[0]) or width < 60


def test_other_phases_show_no_engines(progress):
    progress.phase, progress.engines = "finalizing", ENGINES
    assert not run_progress_line(progress)().details
