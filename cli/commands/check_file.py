"""Check an input in the way that the planner checks a batch's input."""

import shlex
from collections.abc import Sequence

from batchchat.cli.backends.session import Session
from batchchat.cli.commands.request_source import RequestSource
from batchchat.cli.terminal import streams
from batchchat.cli.terminal.row_arguments import RowArguments
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.planning.planner import check_input, plan_limits
from batchchat.jobs.planning.scanner import Scan
from batchchat.jobs.prompts.renderer import PromptRenderer
from batchchat.jobs.requests.parser import Parser


def validate_command(
    files: Sequence[str], model: str | None, on_invalid: str | None, rows: RowArguments
) -> str:
    """Return the command that checks an input, ready to be pasted into a shell."""
    words = ["batchchat", "validate", *files, *rows.words()]
    words += ["--model", model] if model else []
    words += ["--on-invalid", on_invalid] if on_invalid else []
    return shlex.join(words)


def check_requests(
    session: Session,
    source: RequestSource,
    model: str | None,
    on_invalid: str | None = None,
    *,
    every_prompt: bool = True,
) -> Scan:
    """Return the problems of an input for a batch with the option `on_invalid`.

    Raises:
        InputFileError: the file can't be read.

    """
    renderers = session.renderers
    found, known = check_input(
        source.read,
        Parser(model, names=session.catalog.names),
        renderers,
        plan_limits(session.settings),
        on_invalid=on_invalid or session.settings.on_invalid,
        every_prompt=every_prompt,
        rows=source.rows,
    )
    if every_prompt and known is not None:
        _warn_of_missing_files(known, renderers.get_if_local(known))
    return found


def _warn_of_missing_files(model: Model, renderer: PromptRenderer | None) -> None:
    """Report what cannot be checked here, because the model's files are missing."""
    if renderer is not None and renderer.encode is not None:
        return
    what = "prompts" if renderer is None else "lengths of the prompts"
    streams.warn(
        f"the {what} are not checked, because files of `{model.name}` are not available"
    )
