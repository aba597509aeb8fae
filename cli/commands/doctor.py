"""`batchchat doctor`: try storage, broker and engine, and say what was found."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchchat.cli.backends.session import Session
    from batchchat.workers.diagnostics import Finding

_LINE = b'{"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}\n'
_SIGNS = {"good": ("ok", "green"), "fair": ("note", "yellow"), "bad": ("bad", "red")}


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
    return BAD_ANSWER if any(f.state == "bad" for f in findings) else 0


def _here(model: str | None) -> "Iterator[Finding]":
    from batchchat.cli.backends.session import open_session
    from batchchat.workers.diagnostics import examine

    session = open_session()
    yield from examine(session.settings, session.ledger.storage)
    if model is not None:
        yield _try_model(session, model)


def _server(model: str | None) -> "Iterator[Finding]":
    from batchchat.cli.backends.open import open_batches, open_server
    from batchchat.cli.commands.check_server import examine_server, try_model
    from batchchat.jobs.settings import load_settings

    yield from examine_server(open_server(load_settings()))
    if model is not None:
        yield try_model(open_batches(), model, _LINE)


def _try_model(session: "Session", name: str) -> "Finding":
    """Have the model answer a batch of one request, in memory."""
    from batchchat.cli.backends.embedded import start_engine
    from batchchat.jobs.errors import BatchchatError
    from batchchat.jobs.execution.progress import Progress
    from batchchat.jobs.ledger.ledger import Ledger
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import Options, create_batch
    from batchchat.jobs.shutdown import Stop
    from batchchat.jobs.storage import MemoryStorage
    from batchchat.workers.diagnostics import Finding
    from batchchat.workers.local.embedded_run import EmbeddedRun

    ledger = Ledger(MemoryStorage(), "default")
    batch = create_batch(
        ledger, store_file(ledger, [_LINE], "doctor.jsonl"), Options(model=name)
    )
    run = EmbeddedRun(
        ledger,
        session.settings,
        session.prompters,
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
        return Finding(about="model", state="bad", text=error.message, hint=error.hint)
    if state.counts().completed != 1:
        return Finding(about="model", state="bad", text=f"{name} gave no answer")
    seconds = time.monotonic() - began
    text = f"{name} was loaded and has answered, in {seconds:.0f}s"
    return Finding(about="model", state="good", text=text)


def _show(finding: "Finding", *, json: bool) -> None:
    if json:
        return
    sign, colour = _SIGNS[finding.state]
    terminal.out(
        f"{terminal.paint(f'{sign:<5}', colour)} {finding.about:<10} {finding.text}"
    )
    if finding.hint:
        terminal.out(f"{'':<17}{finding.hint}")
