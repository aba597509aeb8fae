"""One `batchchat serve` with the demo model on vLLM, shared by all tests."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from openai import OpenAI

from tests.acceptance.command import Place
from tests.acceptance.conftest import (  # noqa: F401 - fixtures
    environment,
    make_place,
    tripwire,
)
from tests.conformance.clients import AsyncApi, SyncApi
from tests.conformance.stories import Stories
from tests.support.servers.s3_server import BUCKET, PLAIN, S3Server

_REMOVED_VARIABLES = ("BATCHCHAT_", "XDG_", "PYTHON", "NO_COLOR", "OPENAI_")
_URL = re.compile(r"http://127\.0\.0\.1:\d+/v1")


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the server may write results to."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="session")
def url(
    tmp_path_factory: pytest.TempPathFactory, exports: Path, moto: S3Server
) -> Iterator[str]:
    """The base URL of a running `batchchat serve`."""
    folder = tmp_path_factory.mktemp("server")
    kept = {
        name: it
        for name, it in os.environ.items()
        if not name.startswith(_REMOVED_VARIABLES)
    }
    own = {
        "HOME": str(folder),
        "BATCHCHAT_STORAGE": str(folder / "storage"),
        "BATCHCHAT_MODEL_CACHE": str(folder / "models"),
        "XDG_DATA_HOME": str(folder / "data"),
        "BATCHCHAT_OUTPUT_PREFIXES": f"{exports}, s3://{BUCKET}/exports/{{project}}/",
        "BATCHCHAT_S3_ENDPOINT": f"http://127.0.0.1:{moto.port}",
        "AWS_ACCESS_KEY_ID": moto.key,
        "AWS_SECRET_ACCESS_KEY": moto.secret,
        **PLAIN,
    }
    with closing(Place(folder, kept | own, folder / "no-tripwire")) as place:
        running = place.start("serve", "--port", "0", engine=True)
        running.until_it_says("/v1")
        found = _URL.search(running.err.read_text())
        assert found
        yield found.group()
    shutil.rmtree(folder / "models", ignore_errors=True)


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[OpenAI]:
    """OpenAI's client for preparing test data."""
    with OpenAI(base_url=url, api_key="none") as client:
        yield client


@pytest.fixture(scope="session", params=["sync", "async"])
def api(request: pytest.FixtureRequest, url: str) -> Iterator[SyncApi | AsyncApi]:
    """Each of OpenAI's two Python clients, with the same interface."""
    kind = SyncApi if request.param == "sync" else AsyncApi
    with closing(kind(url)) as api:
        yield api


@pytest.fixture(scope="session")
def stories(client: OpenAI) -> Stories:
    """Batches that have ended in every possible way."""
    return Stories.begin(client).until_ended(client)


@pytest.fixture(scope="session")
def many(client: OpenAI) -> list[str]:
    """The ids of 250 batches with invalid input, oldest first."""
    file = client.files.create(file=("bad.jsonl", b"no JSON\n"), purpose="batch")
    return [
        client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        ).id
        for _ in range(250)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A local file with one request."""
    path = tmp_path / "on-disk.jsonl"
    path.write_bytes(b'{"messages": [{"role": "user", "content": "hi"}]}\n')
    return path


@pytest.fixture
def now() -> float:
    """The time before the test."""
    return time.time()
