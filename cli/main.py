"""The `batchchat` command: one verb a file, heavy imports as late as can be."""

import sys
from typing import Annotated, Any, NoReturn

import typer

from batchchat.cli.commands import (
    cancel,
    controller,
    doctor,
    estimate,
    keys,
    models,
    render,
    results,
    resume,
    retry,
    serve,
    status,
    submit,
    validate,
    verify,
    watch,
    worker,
)
from batchchat.cli.commands import list as list_
from batchchat.cli.terminal import streams as terminal
from batchchat.jobs.errors import BatchchatError
from batchchat.workers.engine import process_guard

process_guard.bind_spawned_core()  # does nothing in other processes

WRONG = 2
"""Exit status when the tool could not work."""

_UsageError: Any = typer.BadParameter.__base__  # typer carries a click of its own

app = typer.Typer(
    name="batchchat",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in (
    ("submit", submit.submit),
    ("validate", validate.validate),
    ("render", render.render),
    ("estimate", estimate.estimate),
    ("status", status.status),
    ("list", list_.list_batches),
    ("watch", watch.watch),
    ("results", results.results),
    ("cancel", cancel.cancel),
    ("resume", resume.resume),
    ("retry", retry.retry),
    ("verify", verify.verify),
    ("models", models.models),
    ("worker", worker.worker),
    ("controller", controller.controller),
    ("doctor", doctor.doctor),
    ("serve", serve.serve),
):
    app.command(name)(command)
app.add_typer(keys.app, name="keys")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        terminal.out(f"batchchat {version('batchchat')}")
        raise typer.Exit


@app.callback()
def batchchat(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="And exit."),
    ] = False,
) -> None:
    """Batch jobs of chat completions on your own GPUs.

    Hand in a file of requests, get every answer:

    batchchat submit requests.jsonl --model demo --output results.jsonl
    """


def main() -> NoReturn:
    """Run the command; exit 0 for success, 1 for a bad answer, 2 for no answer."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "batchchat"
        terminal.show_error(
            BatchchatError(error.format_message(), hint=f"see `{path} --help`")
        )
        code = WRONG
    except BatchchatError as error:
        terminal.show_error(error)
        code = WRONG
    except terminal.ReaderGoneError:
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
