"""What is meant as a URL, mistyped ones included, and not as a file's path."""

import re

_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]+:/|(?:s3|gs|file|https?):).*", re.IGNORECASE | re.DOTALL
)


def is_url(text: str) -> bool:
    """Say whether it is one; a file of such a name is written as `./s3:/name`."""
    return _URL.fullmatch(text) is not None
