"""Where a chat template's text comes from: the catalog, a file, or this package."""

from functools import cache
from importlib import resources
from pathlib import Path

from batchchat.jobs.errors import ConfigError

_TEMPLATE_FOLDER = resources.files("batchchat.jobs.catalog") / "chat_templates"
_SUFFIX = ".jinja"
_TOOLS_INCLUDE = "{#- tools -#}\n"
"""Where a shipped template has what they all have in common about tools."""


def template_text(source: str) -> str:
    """Return the template that a catalog's `chat_template` is or names.

    It is the name of a template in `jobs/chat_templates`, such as `llama-2`, the
    path of a file that ends in `.jinja`, or a template's own text.

    Raises:
        ConfigError: it is a path that can't be read, or none of the three.

    """
    if source in built_in_templates():
        text = (_TEMPLATE_FOLDER / f"{source}{_SUFFIX}").read_text("utf-8")
        return text.replace(
            _TOOLS_INCLUDE, (_TEMPLATE_FOLDER / "tools.part").read_text("utf-8")
        )
    if source.endswith(_SUFFIX) and "\n" not in source:
        return _file(Path(source))
    if "{" not in source:  # it would make the same prompt of every conversation
        known = ", ".join(f"`{name}`" for name in built_in_templates())
        raise ConfigError(
            f"chat_template: `{source[:80]}` is neither a template nor one's name",
            hint=f"the names are {known}; a file's path ends in `{_SUFFIX}`",
        )
    return source


@cache
def built_in_templates() -> tuple[str, ...]:
    """Return the names of the templates that come with batchchat."""
    files = (file.name for file in _TEMPLATE_FOLDER.iterdir())
    return tuple(
        sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX))
    )


def _file(file: Path) -> str:
    try:
        return file.expanduser().read_text("utf-8")
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"chat_template: can't read `{file}`: {error}") from None
