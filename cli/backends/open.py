"""Open the backend that the settings select."""

from typing import TYPE_CHECKING

from batchchat.cli.backends.protocol import Backend
from batchchat.jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from batchchat.cli.client.http_client import ServerClient


def open_server(settings: Settings) -> "ServerClient":
    """Return a client of the server at BATCHCHAT_URL. Raises `ConfigError`."""
    from batchchat.cli.client.http_client import ServerClient

    key = settings.api_key.get_secret_value() if settings.api_key else None
    return ServerClient(settings.url or "", key or None, settings.retry_timeout_seconds)


def open_backend() -> Backend:
    """Return the backend that the settings select. Raises `ConfigError`."""
    settings = load_settings()
    if settings.url:
        from batchchat.cli.backends.remote import RemoteBackend

        return RemoteBackend(open_server(settings))
    from batchchat.cli.backends.session import open_session

    session = open_session()
    if session.cluster is not None:
        from batchchat.cli.backends.cluster import ClusterBackend

        return ClusterBackend(session, session.cluster)
    from batchchat.cli.backends.embedded import EmbeddedBackend

    return EmbeddedBackend(session)
