"""Celery's consumer on a real Redis, in a process of its own as a worker's is."""

import pytest

from batchchat.workers.broker.celery_app import CeleryQueue, make_app
from batchchat.workers.broker.celery_transport import TASK_NAME
from batchchat.workers.broker.messages import WorkMessage
from batchchat.workers.broker.redis_client import open_redis
from tests.integration.consumers import QUEUE, consumer_process
from tests.support.servers.redis_server import redis_server

pytestmark = pytest.mark.server
STRANGE = [
    ([], {}),
    (["no message"], {}),
    (["a", "b"], {}),
    ([], {"name": "x", "y": 1}),
]


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path) as one:
        yield one


@pytest.fixture
def consumer(server, tmp_path):
    with consumer_process(server.url, tmp_path) as one:
        yield one


def test_unknown_messages_do_not_block_work_messages(server, consumer):
    app = make_app(server.url)
    for arguments, named in STRANGE:
        app.send_task(TASK_NAME, arguments, named, queue=QUEUE)
    messages = [
        WorkMessage.for_shard("p", f"batch_{'0' * 32}", shard) for shard in range(3)
    ]
    queue = CeleryQueue(app, open_redis(server.url))
    for message in messages:
        queue.send(QUEUE, message)
    names = [consumer.next_name() for _ in messages]
    assert names == [message.name for message in messages]
