"""`batchchat keys`: manage the API keys of a server."""

from typing import Annotated

import typer

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import local_time
from batchchat.cli.terminal.help import add_command, example_section


def create(
    project: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Project that the key gives access to.  [default: BATCHCHAT_PROJECT]",
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="TEXT", help="Note on what the key is for.")
    ] = "",
    json: options.Json = False,
) -> int:
    """Create an API key for a project and print it.

    The key is shown only once: only a hash of it is stored.

    batchchat keys create --project research
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.jobs.access.api_keys import ApiKeys

    session = open_session()
    keys = ApiKeys(session.ledger.storage)
    key, secret = keys.create(
        session.settings.project if project is None else project, name
    )
    if json:
        streams.print_json({"id": key.id, "project": key.project, "key": secret})
        return 0
    streams.print_data(secret)
    streams.info(f"key of project `{key.project}`; it will not be shown again")
    streams.hint(f"revoke it with `batchchat keys revoke {key.id}`")
    return 0


def list_keys(json: options.Json = False) -> int:
    """List the API keys, without their secrets.

    batchchat keys list
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.jobs.access.api_keys import ApiKeys

    keys = list(ApiKeys(open_session().ledger.storage))
    if not (keys or json):
        streams.info("no keys")
        streams.hint("create one with `batchchat keys create --project NAME`")
    for key, revoked_at in keys:
        if json:
            fields = {"id": key.id, "project": key.project, "name": key.name}
            times = {"created_at": key.created_at, "revoked_at": revoked_at}
            streams.print_json(fields | times)
            continue
        status = f"revoked {local_time(revoked_at)}" if revoked_at else "active"
        created = local_time(key.created_at)
        line = f"{key.id}  {key.project:<16}  created {created}  {status}  {key.name}"
        streams.print_data(line.rstrip())
    return 0


def revoke(
    key_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="ID of the key, from `batchchat keys list`."),
    ],
) -> int:
    """Revoke an API key.

    Servers stop accepting it within seconds.

    batchchat keys revoke 6f1c…
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.jobs.access.api_keys import ApiKeys

    ApiKeys(open_session().ledger.storage).revoke(key_id)
    streams.info(f"revoked {key_id}")
    return 0


app = typer.Typer(
    help="Create, list and revoke the API keys of a server.",
    epilog=example_section("batchchat keys create --project research"),
)
for command_name, command in (
    ("create", create),
    ("list", list_keys),
    ("revoke", revoke),
):
    add_command(app, command_name, command)
