"""Celery's consumer on a real Redis, in a process of its own as a worker's is."""

import subprocess
import sys
from pathlib import Path

import pytest

from batchchat.workers.broker.celery_app import TASK_NAME, CeleryQueue, make_app
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from tests.support.servers.redis_server import redis_server

SCRIPT = Path(__file__).with_name("consuming.py")
ROOT = SCRIPT.parent.parent.parent
STRANGE = [
    ([], {}),
    (["no message"], {}),
    (["a", "b"], {}),
    ([], {"name": "x", "y": 1}),
]


@pytest.fixture
def app(tmp_path):
    with redis_server(tmp_path) as server:
        yield make_app(server.url)


@pytest.fixture
def consumer(app):
    process = subprocess.Popen(
        [sys.executable, SCRIPT, app.conf.broker_url],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.terminate()


def test_unknown_messages_do_not_block_work_messages(app, consumer):
    for arguments, named in STRANGE:
        app.send_task(TASK_NAME, arguments, named, queue="q")
    messages = [
        WorkMessage.for_shard("p", f"batch_{'0' * 32}", shard) for shard in range(3)
    ]
    queue = CeleryQueue(app, open_redis(app.conf.broker_url))
    for message in messages:
        queue.send("q", message)
    assert [consumer.stdout.readline().strip() for _ in messages] == [
        message.name for message in messages
    ]
