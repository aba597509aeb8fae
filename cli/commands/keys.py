"""`batchchat keys`: who may use the server, and as which project."""

from typing import Annotated

import typer

from batchchat.cli.terminal import options
from batchchat.cli.terminal import streams as terminal
from batchchat.cli.terminal.format import moment

_HELP = """Make, list and revoke the keys to the server.

batchchat keys create --project research
"""

app = typer.Typer(help=_HELP)


@app.command("create")
def create(
    project: Annotated[
        str | None,
        typer.Option(help="Whose batches it sees; BATCHCHAT_PROJECT if not given."),
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    json: options.Json = False,
) -> int:
    """Make a key for a project. It is printed once and kept nowhere.

    batchchat keys create --project research
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.jobs.access.api_keys import ApiKeys

    session = open_session()
    keys = ApiKeys(session.ledger.storage)
    whose = session.settings.project if project is None else project
    key, text = keys.create(whose, name)
    if json:
        terminal.out_json({"id": key.id, "project": key.project, "key": text})
        return 0
    terminal.out(text)
    terminal.say(f"for project `{key.project}`; it is not shown again")
    terminal.hint(f"take it back with `batchchat keys revoke {key.id}`")
    return 0


@app.command("list")
def list_keys(json: options.Json = False) -> int:
    """List the keys, without what is secret.

    batchchat keys list
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.jobs.access.api_keys import ApiKeys

    keys = list(ApiKeys(open_session().ledger.storage))
    if not (keys or json):
        terminal.hint("make one with `batchchat keys create --project NAME`")
    for key, revoked_at in keys:
        if json:
            shown = {"id": key.id, "project": key.project, "name": key.name}
            times = {"created_at": key.created_at, "revoked_at": revoked_at}
            terminal.out_json(shown | times)
            continue
        status = f"revoked {moment(revoked_at)}" if revoked_at else "good"
        made = moment(key.created_at)
        line = f"{key.id}  {key.project:<16}  made {made}  {status}  {key.name}"
        terminal.out(line.rstrip())
    return 0


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")]) -> int:
    """Make a key worthless; a server knows it within seconds.

    batchchat keys revoke 6f1c…
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.jobs.access.api_keys import ApiKeys

    ApiKeys(open_session().ledger.storage).revoke(key_id)
    terminal.say(f"revoked {key_id}")
    return 0
