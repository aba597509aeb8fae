"""The documentation says what is so."""

import re
from pathlib import Path

from batchchat.jobs.requests.parameters import PARAMETERS
from tools import requests_page, settings_page

ROOT = Path(__file__).parents[3]


def test_the_page_of_the_settings_is_fresh():
    assert (ROOT / "docs/settings.md").read_text("utf-8") == settings_page.page()


def test_every_link_of_the_readme_leads_somewhere():
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_page_of_the_requests_is_fresh():
    assert (ROOT / "docs/requests.md").read_text("utf-8") == requests_page.page()


def test_every_field_that_shapes_an_answer_was_compared_with_run_batch():
    used = {name for name, parameter in PARAMETERS.items() if parameter.has_effect}
    assert requests_page.NOTES.keys() == used
