"""The `batchchat` command; commands import heavy modules only when they run."""

import sys
from typing import Annotated, Any, NoReturn

import typer

from batchchat.cli.commands import (
    cancel,
    controller,
    convert,
    delete,
    doctor,
    estimate,
    keys,
    logs,
    models,
    prune,
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
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.help import Group, add_command, example_section
from batchchat.jobs.errors import BatchchatError
from batchchat.workers.engine import process_guard

process_guard.bind_spawned_core()  # does nothing in other processes

CANNOT_RUN = 2
"""Exit status when the command could not run."""

_UsageError: Any = typer.BadParameter.__base__  # typer bundles its own click

app = typer.Typer(
    name="batchchat",
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example_section(
        "batchchat submit requests.jsonl --model demo --output results.jsonl"
    ),
)
for name, command in (
    ("submit", submit.submit),
    ("validate", validate.validate),
    ("render", render.render),
    ("estimate", estimate.estimate),
    ("convert", convert.convert),
    ("status", status.status),
    ("list", list_.list_batches),
    ("watch", watch.watch),
    ("results", results.results),
    ("cancel", cancel.cancel),
    ("resume", resume.resume),
    ("retry", retry.retry),
    ("verify", verify.verify),
    ("delete", delete.delete),
    ("prune", prune.prune),
    ("logs", logs.logs),
    ("models", models.models),
    ("worker", worker.worker),
    ("controller", controller.controller),
    ("doctor", doctor.doctor),
    ("serve", serve.serve),
):
    add_command(app, name, command, logs=name in {"worker", "controller", "serve"})
app.add_typer(keys.app, name="keys")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        streams.print_data(f"batchchat {version('batchchat')}")
        raise typer.Exit


@app.callback()
def batchchat(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Run batches of chat completions on your own GPUs.

    Submit a JSONL file of requests, and get a file with every result.
    """


def main() -> NoReturn:
    """Run the command; exit with 0 (success), 1 (incomplete), 2 (could not run)."""
    streams.open_closed()
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "batchchat"
        message = error.format_message().replace("Value error, ", "")
        streams.print_error(BatchchatError(message, hint=f"see `{path} --help`"))
        code = CANNOT_RUN
    except BatchchatError as error:
        error.hint = error.hint or f"see `batchchat {sys.argv[1]} --help`"
        streams.print_error(error)
        code = CANNOT_RUN
    except streams.BrokenOutputError:
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
