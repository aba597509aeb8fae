"""The API with OpenAI's JavaScript client."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine

HERE = Path(__file__).parent / "javascript"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the tests and the client, installed by npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("requires node and npm")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copytree(HERE, folder, dirs_exist_ok=True)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(
        install, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip("requires OpenAI's JavaScript client, which npm could not install")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.usefixtures("many")
def test_the_javascript_clients_tests_pass(folder, url, stories):
    command = ["node", "--test", "--test-reporter=tap", "api.test.mjs"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"API_URL": url, "MIXED": stories.mixed.id},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert "# fail 0" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
