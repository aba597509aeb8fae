"""Finds the chat templates of a model folder, in the order of transformers and vLLM."""

import json
from pathlib import Path
from typing import Any

from batchchat.jobs.errors import ConfigError

DEFAULT = "default"
TOOL_USE = "tool_use"
"""The name of the template that is used if the request has tools."""

_TEMPLATE_FILE = "chat_template.jinja"
_PROCESSOR_FILE = "chat_template.json"
_ADDITIONAL_FOLDER = "additional_chat_templates"
_HINT = "repair the model's folder, or set `chat_template` in its catalog entry"


def chat_templates(folder: Path, tokenizer_config: dict[str, Any]) -> dict[str, str]:
    """Return the chat templates of a model by name; the usual one is `default`.

    Template files override the `chat_template` of `tokenizer_config`. The processors of
    multimodal models keep theirs in `chat_template.json`.

    Raises:
        ConfigError: a file can't be read, or a template is not a text.

    """
    found = _files(folder)
    if not found:
        processor = read_object(folder / _PROCESSOR_FILE).get("chat_template")
        source = processor or tokenizer_config.get("chat_template")
        found = _named(source)
    for name, template in found.items():
        if not isinstance(template, str):
            raise ConfigError(
                f"`{folder}`: the chat template `{name}` is not a text", hint=_HINT
            )
    return found


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`, an empty one if there is none.

    Raises:
        ConfigError: the file is not JSON.

    """
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"`{file}` is not JSON: {error}", hint=_HINT) from None
    return value if isinstance(value, dict) else {}


def _files(folder: Path) -> dict[str, str]:
    files = {file.stem: file for file in (folder / _ADDITIONAL_FOLDER).glob("*.jinja")}
    if (folder / _TEMPLATE_FILE).is_file():
        files[DEFAULT] = folder / _TEMPLATE_FILE
    return {name: _text(file) for name, file in sorted(files.items())}


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"can't read the chat template `{file}`: {error}", hint=_HINT
        ) from None


def _named(source: Any) -> dict[str, Any]:
    """Return the templates of a `chat_template`: one text, or several with names."""
    if source is None:
        return {}
    if isinstance(source, dict):
        return source
    if isinstance(source, list):
        return {entry["name"]: entry["template"] for entry in source}
    return {DEFAULT: source}
