"""Write `docs/settings.md` from the settings' own descriptions (`make docs`)."""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from batchchat.jobs.project_rules import ProjectRules
from batchchat.jobs.settings import Settings

PAGE = Path(__file__).parents[1] / "docs/settings.md"

HEAD = """\
# Settings

`make docs` generates this page from `jobs/settings.py`.

Set each one in the environment, or in the TOML file that `BATCHCHAT_CONFIG` names.
In the file, names are in lower case and have no prefix: `BATCHCHAT_HOST` is `host`.
The environment takes precedence over the file.
A name that is no setting is ignored, with a warning.

| setting | default | meaning |
|---|---|---|
"""

PROJECTS = """
## Projects

Each project may have a table in the file, and `"*"` stands for all projects without a
value of their own.
Servers and controllers read it when they start.

```toml
[projects."*"]
max_open_batches = 100
max_stored_bytes = 100_000_000_000

[projects.research]
share = 3
max_daily_cost = 50
```

[Projects](projects.md) explains how limits are applied.

| field | default | meaning |
|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    settings = _rows(Settings, lambda name: f"BATCHCHAT_{name.upper()}")
    return HEAD + settings + PROJECTS + _rows(ProjectRules, str)


def _rows(model: type[BaseModel], shown_name: Callable[[str], str]) -> str:
    """Return the rows of a table that describes the fields of `model`."""
    rows = []
    for name, field in model.model_fields.items():
        default = (
            "in the user's data directory" if field.default_factory else field.default
        )
        shown = "none" if default in (None, (), {}) else f"{default}"
        text = " ".join((field.description or "").split())
        rows.append(f"| `{shown_name(name)}` | {shown} | {text} |\n")
    return "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
