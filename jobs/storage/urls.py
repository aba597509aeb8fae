"""Tells URLs, including mistyped ones, from file paths."""

import re

_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]+:/|(?:s3|gs|file|https?):).*", re.IGNORECASE | re.DOTALL
)


def is_url(text: str) -> bool:
    """Return whether `text` is a URL; write a file of such a name as `./s3:/name`."""
    return _URL.fullmatch(text) is not None
