"""A process whose keys, bucket or clock are wrong ends before it loads a model."""

import os
import subprocess
import sys

import pytest

from batchchat.workers.exit_codes import CANNOT_RUN
from tests.support.servers.redis_server import redis_server
from tests.support.servers.s3_server import PLAIN


@pytest.fixture
def environment(moto, tmp_path):
    with redis_server(tmp_path) as redis:
        yield (
            os.environ
            | PLAIN
            | {
                "AWS_ACCESS_KEY_ID": moto.key,
                "AWS_SECRET_ACCESS_KEY": moto.secret,
                "BATCHCHAT_BROKER": redis.url,
                "BATCHCHAT_S3_ENDPOINT": f"http://127.0.0.1:{moto.port}",
                "BATCHCHAT_STORAGE": "s3://no-such-bucket/prefix",
                "XDG_DATA_HOME": str(tmp_path),
            }
        )


@pytest.mark.parametrize(
    "command",
    [
        ["worker", "--model", "demo"],
        ["worker", "--model", "demo", "--no-restart"],
        ["controller"],
    ],
)
def test_a_process_without_a_bucket_exits_with_2(environment, command):
    done = subprocess.run(
        [sys.executable, "-m", "batchchat", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == CANNOT_RUN
    assert "NoSuchBucket" in done.stderr
    assert "create the bucket" in done.stderr
    assert "loading" not in done.stderr
    assert "controlling" not in done.stderr
    assert "Traceback" not in done.stderr
