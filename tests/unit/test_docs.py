"""The documentation says what is so."""

import re
from pathlib import Path

from docs.settings_page import page

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_settings_is_fresh():
    assert (ROOT / "docs/settings.md").read_text("utf-8") == page()


def test_every_link_of_the_readme_leads_somewhere():
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
