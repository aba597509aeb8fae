"""The check for plain English finds words where people read them, and only there."""

from pathlib import Path

import pytest

from tools.check_words import check_text, load_words

PYTHON = Path("module.py")


@pytest.fixture(scope="module")
def words():
    return load_words()


@pytest.mark.parametrize(
    "text",
    [
        "# nobody reads it\n",
        '"""Nobody reads it."""\n',
        'print("nobody reads it")\n',
        'print(f"{name}: nobody reads it")\n',
        "def test_nobody_reads_it():\n    pass\n",
    ],
)
def test_a_word_is_found_in_comments_strings_and_test_names(words, text):
    [finding] = check_text(PYTHON, text, words)
    assert (finding.line, finding.found.lower()) == (1, "nobody")


def test_identifiers_are_not_prose(words):
    assert list(check_text(PYTHON, "nobody = ours.wish\n", words)) == []


@pytest.mark.parametrize(
    "text",
    ["# the batch goes\n# on\n", 'x = (\n    "the batch goes "\n    f"on"\n)\n'],
)
def test_a_phrase_is_found_across_a_line_break(words, text):
    [finding] = check_text(PYTHON, text, words)
    assert finding.instead.startswith("continue")


@pytest.mark.parametrize(
    "text",
    ["# nobody  words: allow\n", "# words: allow (a quotation)\n# nobody\n"],
)
def test_a_marked_line_is_allowed(words, text):
    assert list(check_text(PYTHON, text, words)) == []


def test_every_line_of_markdown_is_prose(words):
    [finding] = check_text(Path("page.md"), "one\n\nHand in a file\n", words)
    assert (finding.line, finding.found) == (3, "Hand in")
