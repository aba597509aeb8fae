"""Writes `docs/settings.md` from the settings themselves: `make docs`."""

from pathlib import Path

from batchchat.jobs.settings import Settings

HEAD = """\
# Settings

Generated from `jobs/settings.py` by `make docs`.
A setting is read from the environment, then from the TOML file that
`BATCHCHAT_CONFIG` names (there in lower case and without the prefix).

| setting | default | |
|---|---|---|
"""


def page() -> str:
    """Return the page."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = (
            "in the user's data folder" if field.default_factory else field.default
        )
        shown = "none" if default in {None, ()} else f"{default}"
        text = " ".join((field.description or "").split())
        rows.append(f"| `BATCHCHAT_{name.upper()}` | {shown} | {text} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(page(), "utf-8")
