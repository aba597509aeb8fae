"""Report words and phrases that are not plain English (`make words`).

The list is `tools/words.toml`. In Python files it applies to comments, docstrings,
other string literals and the names of tests; in other text files to every line.
"""

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ALLOW = "words: allow"
"""On the line of a word, or on the line above it, permits the word."""

_SUFFIXES = {".md", ".py", ".toml", ".yml", ".yaml", ".txt"}
_NAMES = {"Dockerfile", "Makefile"}
_SKIPPED = re.compile(
    r"tools/(words\.toml|check_words\.py)|tests/unit/project/test_check_words\.py"
    r"|requirements/|.*/demo_corpus\.txt"
)
_PROSE_TOKENS = {
    tokenize.COMMENT,
    tokenize.STRING,
    *(  # an f-string is one token before Python 3.12, and three or more since
        getattr(tokenize, name, tokenize.STRING)
        for name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
    ),
}
_TEST_NAME = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
# A line break inside a phrase, with the comment sign or the quotes of a Python file.
_GAP = r"""(?:[\s#>]|["']\s*[rf]?["'])+"""


class Word(NamedTuple):
    """A phrase to avoid, and what to write instead."""

    pattern: re.Pattern[str]
    instead: str


class Finding(NamedTuple):
    """One occurrence of a phrase to avoid."""

    path: Path
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        """Return the finding as `path:line: …`."""
        return f'{self.path}:{self.line}: "{self.found}": {self.instead}'


def load_words() -> list[Word]:
    """Return the words to avoid."""
    listed = tomllib.loads((ROOT / "tools/words.toml").read_text("utf-8"))
    return [
        Word(re.compile(rf"\b(?:{key.replace(' ', _GAP)})\b", re.IGNORECASE), instead)
        for key, instead in listed["words"].items()
    ]


def check_text(path: Path, text: str, words: list[Word]) -> Iterator[Finding]:
    """Yield the findings in one file's text."""
    prose = _python_prose(text) if path.suffix == ".py" else text
    lines = text.splitlines()
    for word in words:
        for match in word.pattern.finditer(prose):
            line = prose.count("\n", 0, match.start()) + 1
            if not any(ALLOW in one for one in lines[max(line - 2, 0) : line]):
                found = " ".join(match[0].split())
                yield Finding(path, line, found, word.instead)


def _python_prose(text: str) -> str:
    """Blank out everything but comments, strings and the words of tests' names."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    kept = [" " if character != "\n" else "\n" for character in text]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _PROSE_TOKENS:
            (row, column), (end_row, end_column) = token.start, token.end
            span = slice(starts[row - 1] + column, starts[end_row - 1] + end_column)
            kept[span] = text[span]
    for match in _TEST_NAME.finditer(text):
        kept[slice(*match.span(1))] = match[1].replace("_", " ")
    return "".join(kept)


def tracked_files() -> Iterator[Path]:
    """Yield the text files of the repository, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.check_output(command, cwd=ROOT, text=True)
    for name in sorted(listed.splitlines()):
        path = Path(name)
        is_text = path.suffix in _SUFFIXES or path.name in _NAMES
        if is_text and not _SKIPPED.match(name) and (ROOT / path).is_file():
            yield path


def main(prefixes: list[str]) -> int:
    """Print the findings below the paths, or in all files; return their number."""
    words = load_words()
    found = 0
    for path in tracked_files():
        if not str(path).startswith(tuple(prefixes) or ""):
            continue
        text = (ROOT / path).read_text("utf-8")
        for finding in sorted(check_text(path, text, words)):
            print(finding)
            found += 1
    return found


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
