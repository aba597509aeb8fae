"""`batchchat keys`: manage the API keys of a server."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from batchchat.cli.terminal import options, streams
from batchchat.cli.terminal.format import local_time
from batchchat.cli.terminal.help import Group, add_command, example_section

if TYPE_CHECKING:
    from batchchat.jobs.access.api_keys import ApiKey, ListedKey


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
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Time after which the key is no longer valid, such as 30d or 12h.",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Create an API key for a project and print it.

    The key is shown only once: only a hash of it is stored.

    batchchat keys create --project research
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.jobs.access.api_keys import ApiKeys
    from batchchat.jobs.errors import OutputError

    session = open_session()
    keys = ApiKeys(session.ledger.storage)
    key, secret = keys.create(
        session.settings.project if project is None else project, name, expires
    )
    try:
        _print_secret(key, secret, json=json)
    except (OutputError, streams.BrokenOutputError):
        keys.revoke(key.id)
        raise OutputError(
            "the key can't be written to stdout, so it was revoked",
            hint="redirect stdout to another place, and create another key",
        ) from None
    if json:
        return 0
    streams.info(f"key of project `{key.project}`; it will not be shown again")
    streams.hint(f"revoke it with `batchchat keys revoke {key.id}`")
    return 0


def _print_secret(key: "ApiKey", secret: str, *, json: bool) -> None:
    """Print a new key. Raises `BrokenOutputError`, `OutputError`."""
    if json:
        fields = {"id": key.id, "project": key.project, "key": secret}
        streams.print_json(fields | {"expires_at": key.expires_at})
    else:
        streams.print_data(secret)


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
    for one in keys:
        if json:
            streams.print_json(_object(one))
        else:
            streams.print_data(_line(one), indent=2)
    return 0


def _object(listed: "ListedKey") -> dict[str, object]:
    key = listed.key
    return {
        "id": key.id,
        "project": key.project,
        "name": key.name,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": listed.revoked_at,
        "last_used_at": listed.last_used_at,
    }


def _line(listed: "ListedKey") -> str:
    key, revoked_at, used_at = listed
    status = "active"
    if revoked_at:
        status = f"revoked {local_time(revoked_at)}"
    elif key.expires_at:
        word = "expired" if key.is_expired(time.time()) else "expires"
        status = f"{word} {local_time(key.expires_at)}"
    used = f"used {local_time(used_at)}" if used_at else "never used"
    created = local_time(key.created_at)
    line = (
        f"{key.id}  {key.project:<16}  created {created}  {status}  {used}  {key.name}"
    )
    return line.rstrip()


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
    cls=Group,
    help="Create, list and revoke the API keys of a server.",
    epilog=example_section("batchchat keys create --project research"),
)
for command_name, command in (
    ("create", create),
    ("list", list_keys),
    ("revoke", revoke),
):
    add_command(app, command_name, command)
