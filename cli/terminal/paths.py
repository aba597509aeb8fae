"""Paths as users give them: with a `~`, in any bytes that a file system takes."""

import os
from pathlib import Path

from batchchat.jobs.errors import OutputError
from batchchat.jobs.storage.urls import is_url


def expanded(file: str) -> Path:
    """Return the path with its `~` resolved; one of nobody's stays as it is."""
    return Path(os.path.expanduser(file))  # noqa: PTH111 - pathlib's raises for that


def absolute(output: str | None) -> str | None:
    """Return an output path as a later command in another folder finds it.

    Raises:
        OutputError: it can't be written down, as it is not UTF-8, or it is a URL.

    """
    if output is None or output == "-":
        return None
    if is_url(output):
        raise OutputError(
            f"can't write the results to `{output}`: here `--output` is a file's path",
            hint="`batchchat submit --output s3://bucket/prefix/` takes a URL",
        )
    path = str(expanded(output).absolute())
    if path != printable(path):
        raise OutputError(
            "can't write the results: the path is not UTF-8",
            hint="choose another place with `--output`",
        )
    return path


def printable(text: str) -> str:
    """Return `text` with `?` for bytes that are not UTF-8."""
    return text.encode(errors="replace").decode()
