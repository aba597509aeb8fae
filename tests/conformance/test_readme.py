"""The README's Python example runs as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

README = Path(__file__).parents[2] / "README.md"
EXAMPLE = README.with_name("examples") / "requests.jsonl"


def test_the_readme_examples_print_the_results(url, tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    printed = "http://127.0.0.1:8000/v1"
    assert printed in code
    program = tmp_path / "printed.py"
    program.write_text(code.replace(printed, url), "utf-8")
    lines = EXAMPLE.read_bytes().splitlines(keepends=True)[:20]
    (tmp_path / "requests.jsonl").write_bytes(b"".join(lines))
    done = subprocess.run(
        [sys.executable, program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(lines)
