"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest

from batchchat.jobs.requests.parameters import PARAMETERS
from batchchat.jobs.settings import Settings
from tools import requests_page, results_page, settings_page

ROOT = Path(__file__).parents[3]
TOPS = ("api", "batchchat", "benchmarks", "cli", "examples", "jobs", "tests", "tools")
NOT_SETTINGS = {"BATCHCHAT_MODEL", "BATCHCHAT_X"}
"""A variable of docker-compose.yml, and a placeholder."""

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
]


def page_id(path):
    return str(path.relative_to(ROOT))


def test_the_settings_page_is_up_to_date():
    assert settings_page.PAGE.read_text("utf-8") == settings_page.page()


def test_the_requests_page_is_up_to_date():
    assert requests_page.PAGE.read_text("utf-8") == requests_page.page()


def test_the_results_page_is_up_to_date():
    assert results_page.PAGE.read_text("utf-8") == results_page.page()


def test_every_field_that_changes_an_answer_is_compared_with_run_batch():
    used = {name for name, parameter in PARAMETERS.items() if parameter.has_effect}
    assert requests_page.NOTES.keys() == used


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_relative_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_path_on_a_page_exists(page):
    pattern = rf"`((?:{'|'.join(TOPS)})/[\w./-]+)`"
    paths = re.findall(pattern, page.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_setting_on_a_page_exists(page):
    known = {f"BATCHCHAT_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\bBATCHCHAT_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))
    assert named - known - NOT_SETTINGS == set()


def test_the_index_of_decisions_lists_every_page():
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text("utf-8")
    for path in folder.glob("0*.md"):
        heading = path.read_text("utf-8").splitlines()[0]
        number, title = heading.removeprefix("# ").split(" ", 1)
        assert f"| [{number}]({path.name}) | {title} |" in index


def test_a_request_passes_at_most_25_files_and_none_twice():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    files = re.findall(r"^\d+\. `([\w/]+\.py)`", page, re.MULTILINE)
    assert 20 < len(files) <= 25
    assert len(set(files)) == len(files)
