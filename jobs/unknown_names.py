"""Finds names in the environment and in the configuration file that are no settings.

They are ignored, so that one environment can serve several versions, but a mistyped
name must not go unnoticed.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

PREFIX = "BATCHCHAT_"
MODELS = "models"
"""The section of the configuration file that holds the catalog."""

_MAX_SHOWN_CHARS = 80


def unknown_variables(names: Iterable[str], fields: Collection[str]) -> Iterator[str]:
    """Yield a warning for each variable that begins like a setting and is none."""
    known = [field.upper() for field in fields]
    for name in sorted(names):
        own = name.upper().removeprefix(PREFIX)
        if name.upper().startswith(PREFIX) and own not in known:
            yield _warning(f"`{name[:_MAX_SHOWN_CHARS]}`", own, known, PREFIX)


def unknown_keys(
    document: Mapping[str, Any], file: str, fields: Collection[str]
) -> Iterator[str]:
    """Yield a warning for each top-level key or section of a file that is no setting.

    Unknown names below `[models]` and `[projects]` are errors.
    """
    known = [*fields, MODELS]
    for name, value in document.items():
        if name in known:
            continue
        if isinstance(value, Mapping) and any(key in fields for key in value):
            shown = f"`[{name[:_MAX_SHOWN_CHARS]}]` in `{file}`"
            yield f"{shown} is ignored: settings belong at the top of the file"
            continue
        what = f"[{name}]" if isinstance(value, Mapping) else name
        plain = name.lower().removeprefix(PREFIX.lower())
        yield _warning(f"`{what[:_MAX_SHOWN_CHARS]}` in `{file}`", plain, known)


def _warning(what: str, name: str, known: Collection[str], prefix: str = "") -> str:
    """Return the warning; `prefix` is what all names have, but not `name`.

    With it, any two names would be similar.
    """
    near = get_close_matches(name, known, n=1)
    meant = f"; did you mean `{prefix}{near[0]}`?" if near else ""
    return f"{what} is not a setting and is ignored{meant}"
