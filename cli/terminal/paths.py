"""Resolve the paths that a user types: with `~`, relative, or not UTF-8."""

import os
from pathlib import Path

from batchchat.jobs.errors import OutputError
from batchchat.jobs.storage.urls import is_url


def expand_user(file: str) -> Path:
    """Return the path with `~` expanded; `~name` of an unknown user is kept."""
    return Path(os.path.expanduser(file))  # noqa: PTH111 - pathlib raises for that


def absolute_output(output: str | None) -> Path | None:
    """Return `--output` as an absolute path, None for stdout.

    A later command in another directory must find the same file.

    Raises:
        OutputError: `output` is a URL, or not UTF-8.

    """
    if output is None or output == "-":
        return None
    if is_url(output):
        raise OutputError(
            f"can't write the results to `{output}`: `--output` must be a file path"
            " for this command",
            hint="only `batchchat submit` takes a URL:"
            " `batchchat submit FILE --output s3://bucket/prefix/`",
        )
    path = expand_user(output).absolute()
    if str(path) != valid_utf8(str(path)):
        raise OutputError(
            "can't write the results: the output path is not valid UTF-8",
            hint="choose another path with `--output`",
        )
    return path


def valid_utf8(text: str) -> str:
    """Return `text` with `?` in place of bytes that are not UTF-8."""
    return text.encode(errors="replace").decode()
