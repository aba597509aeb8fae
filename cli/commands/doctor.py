"""`batchchat doctor`: check storage, broker and engine."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options, streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchchat.cli.backends.session import Session
    from batchchat.workers.diagnostics import CheckResult

_LINE = b'{"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}\n'
_COLORS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="Also load this model and run one request.",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Check storage, broker and engine, and report what to fix.

    With BATCHCHAT_URL set, checks the server and the API key instead.

    batchchat doctor --model demo
    """
    from batchchat.cli.backends.report import INCOMPLETE
    from batchchat.jobs.settings import load_settings

    results = []
    run_checks = _check_server if load_settings().url else _check_here
    for result in run_checks(model):
        results.append(result)
        if not json:
            _show(result)
    if json:
        streams.print_json(results)
    return INCOMPLETE if any(it.status == "error" for it in results) else 0


def _check_here(model: str | None) -> "Iterator[CheckResult]":
    from batchchat.cli.backends.session import open_session
    from batchchat.workers.diagnostics import run_checks

    session = open_session()
    yield from run_checks(session.settings, session.ledger.storage)
    yield _check_arguments(session)
    if model is not None:
        yield _try_model(session, model)


def _check_arguments(session: "Session") -> "CheckResult":
    """Check the engine arguments of all models of the catalog."""
    from batchchat.jobs.errors import ConfigError
    from batchchat.workers.diagnostics import CheckResult
    from batchchat.workers.engine.vllm_arguments import check_arguments

    try:
        for model in session.catalog:
            check_arguments(model.name, model.engine)
    except ConfigError as error:
        return CheckResult(
            check="arguments", status="error", message=error.message, hint=error.hint
        )
    text = "the engine arguments of the catalog are valid"
    return CheckResult(check="arguments", status="ok", message=text)


def _check_server(model: str | None) -> "Iterator[CheckResult]":
    from batchchat.cli.backends.open import open_backend, open_server
    from batchchat.cli.commands.check_server import run_server_checks, try_model
    from batchchat.jobs.settings import load_settings

    yield from run_server_checks(open_server(load_settings()))
    if model is not None:
        yield try_model(open_backend(), model, _LINE)


def _try_model(session: "Session", name: str) -> "CheckResult":
    """Load the model, and run a batch of one request in memory."""
    from batchchat.jobs.errors import BatchchatError
    from batchchat.jobs.execution.progress import Progress
    from batchchat.jobs.ledger.batch_options import BatchOptions
    from batchchat.jobs.ledger.ledger import Ledger
    from batchchat.jobs.ledger.stored_files import store_file
    from batchchat.jobs.ledger.submission import create_batch
    from batchchat.jobs.shutdown import ShutdownSignal
    from batchchat.jobs.storage import MemoryStorage
    from batchchat.workers.diagnostics import CheckResult
    from batchchat.workers.engine.log_file import engine_log_path
    from batchchat.workers.local.single_batch import SingleBatchRun

    progress = Progress()
    ledger = Ledger(MemoryStorage(), "default")
    batch = create_batch(
        ledger, store_file(ledger, [_LINE], "doctor.jsonl"), BatchOptions(model=name)
    )
    run = SingleBatchRun(
        ledger,
        session.settings,
        session.renderers,
        start_engine=session.start_engine,
        stop=ShutdownSignal(),
        progress=progress,
        locks=session.locks,
    )
    start = time.monotonic()
    log = engine_log_path("doctor")
    try:
        session.catalog.find(name)
        with streams.engine_output(log):
            state = run.run(batch.id)
    except BatchchatError as error:
        return CheckResult(
            check="model", status="error", message=error.message, hint=error.hint
        )
    if state.counts().completed != 1:
        text = f"{name} did not complete the test request"
        if progress.notices:
            death, _, _ = progress.notices[-1].partition("; restarting")
            text += f": {death}"
        hint = f"see the engine's log, `{log}`"
        return CheckResult(check="model", status="error", message=text, hint=hint)
    seconds = time.monotonic() - start
    text = f"{name} was loaded and completed a test request in {seconds:.0f}s"
    return CheckResult(check="model", status="ok", message=text)


def _show(result: "CheckResult") -> None:
    status = streams.Styled(f"{result.status:<7}", _COLORS[result.status])
    streams.print_data(status, f" {result.check:<11} {result.message}", indent=20)
    if result.hint:
        streams.print_data(f"{'':<20}{result.hint}", indent=20)
