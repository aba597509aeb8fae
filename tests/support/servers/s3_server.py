"""S3 servers for tests: each a process of its own, on loopback, ended with them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from batchchat.jobs.storage.s3.storage import S3Storage

BUCKET = "bucket"
PLAIN = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}


@contextmanager
def credentials(key: str | None, secret: str | None) -> Iterator[None]:
    """Let boto3 find these credentials, and none of the user's."""
    mine = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    given = {name: value for name, value in mine.items() if value is not None}
    theirs = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    with patch.dict(os.environ, theirs | PLAIN | given, clear=True):
        yield


@dataclass(frozen=True)
class S3Server:
    """One that runs, with a bucket."""

    port: int
    key: str
    secret: str

    def storage(self) -> S3Storage:
        """Return an empty storage: a prefix of its own, on a client that is shared."""
        twin = copy(self._storage)
        twin._prefix = f"{uuid4().hex}/"
        twin.url = f"s3://{BUCKET}/{twin._prefix}"
        return twin

    def open(
        self,
        port: int | None = None,
        *,
        bucket: str = BUCKET,
        key: str | None = None,
        secret: str | None = None,
    ) -> S3Storage:
        """Return a storage with a client of its own, perhaps through a proxy's port."""
        endpoint = f"http://127.0.0.1:{port or self.port}"
        with credentials(key or self.key, secret or self.secret):
            return S3Storage(bucket, uuid4().hex, endpoint=endpoint)

    @property
    def client(self) -> Any:
        """boto3's own view of the server."""
        return self._storage._client

    @cached_property
    def _storage(self) -> S3Storage:
        return self.open()


@contextmanager
def s3_server(
    script: str, *arguments: Path, key: str, secret: str
) -> Iterator[S3Server]:
    """Run a script of this folder, which prints the port that it serves."""
    path = Path(__file__).with_name(script)
    command: list[str | Path] = [sys.executable, path, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        port = process.stdout.readline()
        assert port, f"{script} did not start: its errors stand above"
        server = S3Server(int(port), key, secret)
        server.client.create_bucket(Bucket=BUCKET)
        yield server
