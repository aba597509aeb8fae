"""File names in the header Content-Disposition (RFC 6266, RFC 7578)."""

import re
from urllib.parse import quote, unquote_to_bytes

_QUOTED = re.compile(
    rb';\s*filename\s*=\s*"((?:\\.|[^"\\])*)"', re.IGNORECASE | re.DOTALL
)
_ENCODED = re.compile(rb";\s*filename\*\s*=\s*([\w-]+)'[^']*'([^;\s]*)", re.IGNORECASE)
_ANY_ENCODED = re.compile(rb";\s*filename\*", re.IGNORECASE)


def content_disposition(filename: str) -> str:
    """Return the header value with which browsers save a download as `filename`.

    Clients that don't read `filename*` find an ASCII approximation in `filename`.
    """
    plain = re.sub(r'[^ -~]|["\\%]', "_", filename)
    encoded = quote(filename, safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def sent_filename(disposition: bytes, parsed: bytes | None) -> str | None:
    r"""Return the last component of the file name in a header, None if it has none.

    `parsed` is the value of the parameter `filename` as a multipart parser found it.
    In a quoted name, `\"` and `\\` stand for one character, as RFC 9110 requires;
    before any other character a backslash separates directories, as browsers on
    Windows sent it.

    Raises:
        ValueError: the name is not valid in its character set.

    """
    name: str | None = None
    if found := _ENCODED.search(disposition):
        name = _decode(unquote_to_bytes(found[2]), found[1].decode())
    elif _ANY_ENCODED.search(disposition):
        raise ValueError("invalid filename*")
    elif found := _QUOTED.search(disposition):
        name = re.sub(rb'\\(["\\])', rb"\1", found[1]).decode()
    elif parsed is not None:
        name = parsed.decode()
    return name and re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def _decode(raw: bytes, charset: str) -> str:
    try:
        return raw.decode(charset)
    except LookupError:
        message = f"unknown character set `{charset}`"
        raise ValueError(message) from None
