"""Read the templates that options name: texts, and request bodies in YAML or JSON."""

import json
import shlex
from typing import Any

import yaml

from batchchat.cli.terminal.paths import expand_user
from batchchat.jobs.errors import InputFileError

_EXAMPLE = "messages: [{role: user, content: '{{ question }}'}]"


def text_or_file(value: str | None, option: str) -> str | None:
    """Return the text of an option, or that of the file which it names with `@`.

    Raises:
        InputFileError: the file can't be read.

    """
    if value is None or not value.startswith("@"):
        return value
    return _read(value[1:], option).removesuffix("\n")


def read_template(path: str) -> dict[str, Any]:
    """Return the body of a request from a YAML or JSON file.

    Raises:
        InputFileError: the file can't be read, or holds no body.

    """
    text = _read(path, "--template")
    again = f"check it with `cat {shlex.quote(path)}`"
    try:
        body = json.loads(text) if text.lstrip()[:1] == "{" else _from_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        kind = "JSON" if text.lstrip()[:1] == "{" else "YAML"
        message = f"`{path}` is not valid {kind}: {reason}"
        raise InputFileError(message, hint=again) from None
    if not isinstance(body, dict):
        raise InputFileError(
            f"`{path}` holds no request body",
            hint=f"write an object, such as `{_EXAMPLE}`",
        )
    return body


def _from_yaml(text: str) -> Any:
    """Return the document; braces of a template that lack quotes are named."""
    try:
        # Dates become texts, as in JSON.
        return yaml.load(text, Loader=_JsonLoader)  # noqa: S506 - a safe loader
    except yaml.constructor.ConstructorError as error:
        raise ValueError(
            f"{error}: quote a string that begins with a template, as in"
            ' "{{ question }}"'
        ) from None


class _JsonLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads the types of JSON only."""


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in found if not tag.endswith(":timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(path: str, option: str) -> str:
    try:
        return expand_user(path).read_text("utf-8")
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except OSError as error:
        reason = str(error.strerror)
    raise InputFileError(
        f"can't read `{path}` of `{option}`: {reason}",
        hint=f"check it with `ls -l {shlex.quote(path)}`",
    )
