"""The progress of a batch that Redis reports is shown only if it is possible."""

import pytest

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.ledger.records import Counts
from batchchat.workers.broker.redis_client import open_redis
from batchchat.workers.broker.status_board import (
    RedisStatusBoard,
    ShardProgress,
    WorkerStatus,
)
from batchchat.workers.cluster_status import ClusterStatus
from tests.support.ended import Hand, whole
from tests.support.servers.redis_server import redis_server

pytestmark = pytest.mark.server
WORKER = WorkerStatus(
    id="w", queue="q", model="m", host="h", since=1, tokens_per_second=2, shards=[]
)


def test_impossible_progress_is_not_shown(tmp_path):
    hand = Hand(shard_requests=3)
    batch_id = hand.submit(b"".join(whole(f"q-{n}", "a") + b"\n" for n in range(6)))
    hand.plan(batch_id)
    state = hand.ledger.state(batch_id)
    told = {
        (batch_id, "00000"): ShardProgress(Counts(3, 2, 0), Usage(10)),
        (batch_id, "00001"): ShardProgress(Counts(3, 3, 1), Usage(10)),
        (batch_id, "00009"): ShardProgress(Counts(3, 1, 0), Usage(10)),
    }
    with redis_server(tmp_path) as server:
        RedisStatusBoard(open_redis(server.url)).publish(WORKER, told)
        for text in ('{"counts": {"completed": -1}, "usage": {}}', "3", '{"x": 1}'):
            server.client.hset(f"batchchat:running:{batch_id}", "1", text)
        shown = ClusterStatus(server.url).with_progress(state)
    assert (shown.counts().completed, shown.usage().input_tokens) == (2, 10)
