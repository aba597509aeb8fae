"""From a setting such as `file:///data` to the storage it names."""

from urllib.parse import unquote, urlsplit

from jobs.errors import ConfigError
from jobs.storage.base import Storage
from jobs.storage.local import LocalStorage


def open_storage(url: str) -> Storage:
    """Return the storage at `url`: `file:///folder`, or a plain path.

    Raises:
        ConfigError: no storage is known by that scheme.

    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return LocalStorage(unquote(parts.path))
    if "://" not in url:
        return LocalStorage(url)
    message = f"BATCHCHAT_STORAGE: `{url}` is no storage this version knows"
    raise ConfigError(message, hint="use `file:///an/absolute/folder`")
