"""Resolves a catalog's `chat_template` to the text of a template."""

from functools import cache
from importlib import resources
from pathlib import Path

from batchchat.jobs.errors import ConfigError

_TEMPLATE_FOLDER = resources.files("batchchat.jobs.catalog") / "chat_templates"
_SUFFIX = ".jinja"
_TOOLS_INCLUDE = "{#- tools -#}\n"
"""The line of a built-in template that is replaced by `tools.part`."""


def template_text(source: str) -> str:
    """Return the text of a chat template.

    `source` is the name of a built-in template, such as `llama-2`, the path of a file
    that ends in `.jinja`, or a template.

    Raises:
        ConfigError: `source` is none of these, or the file can't be read.

    """
    if source in built_in_templates():
        return _built_in(source)
    if source.endswith(_SUFFIX) and "\n" not in source:
        return _file(Path(source))
    if "{" not in source:  # it would render every conversation to the same prompt
        known = ", ".join(f"`{name}`" for name in built_in_templates())
        raise ConfigError(
            f"chat_template: `{source[:80]}` is neither a template nor the name of one",
            hint=f"the built-in templates are {known}; a path must end in `{_SUFFIX}`",
        )
    return source


def is_built_in(text: str) -> bool:
    """Return whether a text is that of a built-in template."""
    return any(text == _built_in(name) for name in built_in_templates())


@cache
def _built_in(name: str) -> str:
    text = (_TEMPLATE_FOLDER / f"{name}{_SUFFIX}").read_text("utf-8")
    tools = (_TEMPLATE_FOLDER / "tools.part").read_text("utf-8")
    return text.replace(_TOOLS_INCLUDE, tools)


@cache
def built_in_templates() -> tuple[str, ...]:
    """Return the names of the built-in templates."""
    files = (file.name for file in _TEMPLATE_FOLDER.iterdir())
    return tuple(
        sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))
    )


def _file(file: Path) -> str:
    try:
        return file.expanduser().read_text("utf-8")
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"chat_template: can't read `{file}`: {error}",
            hint="correct the path in the model's catalog entry",
        ) from None
