"""Write `docs/settings.md` from the settings' own descriptions (`make docs`)."""

from pathlib import Path

from batchchat.jobs.settings import Settings

PAGE = Path(__file__).parents[1] / "docs/settings.md"

HEAD = """\
# Settings

`make docs` generates this page from `jobs/settings.py`.

Set each one in the environment, or in the TOML file that `BATCHCHAT_CONFIG` names.
In the file, names are in lower case and have no prefix: `BATCHCHAT_HOST` is `host`.
The environment takes precedence over the file.

| setting | default | meaning |
|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = (
            "in the user's data directory" if field.default_factory else field.default
        )
        shown = "none" if default in {None, ()} else f"{default}"
        text = " ".join((field.description or "").split())
        rows.append(f"| `BATCHCHAT_{name.upper()}` | {shown} | {text} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
