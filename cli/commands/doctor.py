"""`batchchat doctor`: try storage, broker and engine, and say what was found."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchchat.cli.backends.session import Session
    from batchchat.workers.diagnostics import CheckResult

_LINE = b'{"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}\n'
_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Load this model too, and have it answer once."
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Try everything that a batch needs, and say what to mend.

    batchchat doctor --model demo
    """
    from batchchat.cli.backends.report import BAD_ANSWER
    from batchchat.jobs.settings import load_settings

    findings = []
    for finding in (_server if load_settings().url else _here)(model):
        findings.append(finding)
        _show(finding, json=json)
    if json:
        terminal.out_json(findings)
    return BAD_ANSWER if any(f.status == "error" for f in findings) else 0


def _here(model: str | None) -> "Iterator[CheckResult]":
    from batchchat.cli.backends.session import open_session
    from batchchat.workers.diagnostics import run_checks

    session = open_session()
    yield from run_checks(session.settings, session.ledger.storage)
    if model is not None:
        yield _try_model(session, model)


def _server(model: str | None) -> "Iterator[CheckResult]":
    from batchchat.cli.backends.open import open_batches, open_server
    from batchchat.cli.commands.check_server import run_server_checks, try_model
    from batchchat.jobs.settings import load_settings

    yield from run_server_checks(open_server(load_settings()))
    if model is not None:
        yield try_model(open_batches(), model, _LINE)


def _try_model(session: "Session", name: str) -> "CheckResult":
    """Have the model answer a batch of one request, in memory."""
    from batchchat.cli.backends.embedded import start_engine
    from batchchat.jobs.errors import BatchchatError
    from batchchat.jobs.execution.progress import Progress
    from batchchat.jobs.ledger.ledger import Ledger
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import Options, create_batch
    from batchchat.jobs.shutdown import Stop
    from batchchat.jobs.storage import MemoryStorage
    from batchchat.workers.diagnostics import CheckResult
    from batchchat.workers.local.embedded_run import EmbeddedRun

    ledger = Ledger(MemoryStorage(), "default")
    batch = create_batch(
        ledger, store_file(ledger, [_LINE], "doctor.jsonl"), Options(model=name)
    )
    run = EmbeddedRun(
        ledger,
        session.settings,
        session.renderers,
        start_engine=lambda model: start_engine(session, model),
        stop=Stop(),
        progress=Progress(),
        locks=session.locks,
    )
    began = time.monotonic()
    try:
        session.catalog.find(name)
        with terminal.engine_output(session.engine_log):
            state = run.run(batch.id)
    except BatchchatError as error:
        return CheckResult(
            check="model", status="error", message=error.message, hint=error.hint
        )
    if state.counts().completed != 1:
        return CheckResult(
            check="model", status="error", message=f"{name} gave no answer"
        )
    seconds = time.monotonic() - began
    text = f"{name} was loaded and has answered, in {seconds:.0f}s"
    return CheckResult(check="model", status="ok", message=text)


def _show(finding: "CheckResult", *, json: bool) -> None:
    if json:
        return
    colour = _COLOURS[finding.status]
    status = terminal.paint(f"{finding.status:<7}", colour)
    terminal.out(f"{status} {finding.check:<10} {finding.message}")
    if finding.hint:
        terminal.out(f"{'':<19}{finding.hint}")
