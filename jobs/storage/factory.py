"""Opens the storage that a setting such as `s3://bucket/prefix` names."""

import re
from urllib.parse import SplitResult, unquote, urlsplit

from batchchat.jobs.errors import ConfigError
from batchchat.jobs.storage.local import LocalStorage
from batchchat.jobs.storage.protocol import Storage, checked_key
from batchchat.jobs.storage.urls import is_url

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")


def open_storage(
    url: str, *, s3_endpoint: str | None = None, s3_path_style: bool | None = None
) -> Storage:
    """Return the storage at `url`: a path, `file:///folder`, `s3://bucket/prefix`.

    Raises:
        ConfigError: the URL is invalid, or its scheme is not supported.

    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _s3(parts, s3_endpoint, path_style=s3_path_style)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return LocalStorage(unquote(parts.path))
    if not is_url(url):
        return LocalStorage(url)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    message = f"BATCHCHAT_STORAGE: `{shown}` is not a supported storage"
    raise ConfigError(message, hint="use `file:///folder` or `s3://bucket/prefix`")


def _s3(
    parts: SplitResult, endpoint: str | None, *, path_style: bool | None
) -> Storage:
    bucket, prefix = _bucket_and_prefix(parts)
    checked_endpoint(endpoint)
    from batchchat.jobs.storage.s3.storage import S3Storage  # boto3 is slow to import

    return S3Storage(bucket, prefix, endpoint=endpoint, path_style=path_style)


def _bucket_and_prefix(parts: SplitResult) -> tuple[str, str]:
    prefix = parts.path.removeprefix("/").removesuffix("/")
    try:
        if prefix:
            checked_key(prefix)
        wrong = parts.query or parts.fragment or not _BUCKET.fullmatch(parts.netloc)
    except ValueError:
        wrong = True
    if wrong:
        message = "BATCHCHAT_STORAGE: the URL does not name a bucket and a prefix"
        hint = "use `s3://bucket/prefix` with letters, digits, `.`, `_` and `-`; set"
        hint += " credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise ConfigError(message, hint=hint)
    return parts.netloc, prefix


def checked_endpoint(url: str | None) -> str | None:
    """Return the URL of an S3 server if it is valid. Raises `ConfigError`."""
    if url is not None and not re.fullmatch(r"https?://[^\s@?#]+", url):
        message = "BATCHCHAT_S3_ENDPOINT: not an http(s) URL of a server"
        hint = "use a URL like `https://s3.example.org:9000`, without user and query"
        raise ConfigError(message, hint=hint)
    return url
