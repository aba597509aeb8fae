"""Opens the backend that the settings name."""

from typing import TYPE_CHECKING

from batchchat.cli.backends.protocol import Batches
from batchchat.jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from batchchat.cli.client.http_client import Server


def open_server(settings: Settings) -> "Server":
    """Return the server that the settings name. Raises `ConfigError`."""
    from batchchat.cli.client.http_client import Server

    key = settings.api_key.get_secret_value() if settings.api_key else None
    return Server(settings.url or "", key or None, settings.patience_seconds)


def open_batches() -> Batches:
    """Return the batches that the settings name. Raises `ConfigError`."""
    settings = load_settings()
    if settings.url:
        from batchchat.cli.backends.remote import RemoteBatches

        return RemoteBatches(open_server(settings))
    from batchchat.cli.backends.session import open_session

    session = open_session()
    if session.cluster is not None:
        from batchchat.cli.backends.cluster import ClusterBatches

        return ClusterBatches(session, session.cluster)
    from batchchat.cli.backends.embedded import EmbeddedBatches

    return EmbeddedBatches(session)
