"""Faults of services: Redis, the messages, the bucket and the place of delivery."""

import json
import time
from io import BytesIO

from pyarrow import parquet

from tests.chaos.cluster import EXPORTS, PATIENCE_SECONDS, Cluster, until
from tests.chaos.duplicates import duplicating
from tests.chaos.load import Load
from tests.chaos.series import Seen
from tests.support.servers.tcp_proxy import FAULT_WEIGHTS


def lose_redis(cluster: Cluster, load: Load, away: float = 30) -> Seen:
    """Empty Redis, twice; stop it for a while, and start it empty."""
    with cluster.unfinished_batch(load.data) as batch_id:
        for commits in (1, 3):
            cluster.wait_until_committed(batch_id, commits)
            cluster.redis.client.flushall()
        cluster.wait_until_committed(batch_id, 5)
        before = len(cluster.state(batch_id).commits)
        cluster.redis.stop()
        time.sleep(away)
        meanwhile = len(cluster.state(batch_id).commits) - before
        status = cluster.run("status", batch_id).splitlines()[0]
        cluster.redis.start()
        began = time.monotonic()
        until(cluster.leases, "leases after Redis came back")
        back = time.monotonic() - began
    account = cluster.wait_for_end(batch_id)
    load.check(account)
    return {
        "shards committed while it was away": meanwhile,
        "status meanwhile": status,
        "leases again after s": round(back, 1),
        "results stored twice": account.stored_twice,
    }


def duplicate_messages(cluster: Cluster, load: Load) -> Seen:
    """Have each message come twice."""
    with duplicating(cluster.redis) as duplicates:
        batch_id = cluster.submit(load.data)
        account = cluster.wait_for_end(batch_id)
        shards = len(account.state.require_plan().shards)
        until(lambda: duplicates.messages >= shards, "each message twice")
    load.check(account)
    return {
        "messages doubled": duplicates.messages,
        "results stored twice": account.stored_twice,
    }


def disturb_bucket(cluster: Cluster, load: Load, seconds: float = 60) -> Seen:
    """Have the bucket refuse, cut, delay and tear what it is asked."""
    with cluster.unfinished_batch(load.data) as batch_id:
        cluster.wait_until_committed(batch_id, 1)
        before = len(cluster.state(batch_id).commits)
        cluster.proxy.close_idle()
        cluster.proxy.injects_faults = True
        until(
            lambda: {*cluster.proxy.injected} == {*FAULT_WEIGHTS},
            "every kind of fault",
        )
        time.sleep(seconds)
        cluster.proxy.injects_faults = False
    commits = len(cluster.state(batch_id).commits) - before
    account = cluster.wait_for_end(batch_id)
    load.check(account)
    return {
        "requests to the bucket, by fault": dict(cluster.proxy.injected),
        "shards committed meanwhile": commits,
        "results stored twice": account.stored_twice,
    }


def fill_storage(cluster: Cluster, load: Load, seconds: float = 90) -> Seen:
    """Have the bucket refuse all that is written, as if it were full; then free it."""
    said = _said(cluster)
    with cluster.unfinished_batch(load.data) as batch_id:
        cluster.wait_until_committed(batch_id, 1)
        with cluster.proxy.full_for(""):
            until(lambda: _said(cluster) > said, "a word about the storage")
            time.sleep(seconds)
            said = _said(cluster) - said
    account = cluster.wait_for_end(batch_id)
    load.check(account)
    return {
        "lines on the workers' screens meanwhile": said,
        "results stored twice": account.stored_twice,
    }


def interrupt_delivery(cluster: Cluster, load: Load) -> Seen:
    """Have results delivered; kill the controllers that write them, close the place."""
    place = f"{EXPORTS}/{cluster.prefix}"
    cluster.proxy.block("_output.jsonl")
    batch_id = cluster.submit(load.data, "--output", place, "--format", "both")
    assert cluster.proxy.blocked.wait(PATIENCE_SECONDS)
    for controller in cluster.alive("controller"):
        controller.kill()
    assert cluster.state(batch_id).is_terminal
    with cluster.proxy.full_for("/exports/"):
        cluster.proxy.unblock()
        began = time.monotonic()
        for _ in range(2):
            cluster.controller()
        until(
            lambda: cluster.state(batch_id).delivery_attempt, "a try that was refused"
        )
        refused = time.monotonic() - began
    account = cluster.wait_for_end(batch_id)
    load.check(account)
    delivered = account.state.delivery_receipt
    names = [f"{place}/{batch_id}_output.{ending}" for ending in ("jsonl", "parquet")]
    assert delivered is not None
    assert delivered.files == names
    output, table = map(cluster.read, names)
    assert [json.loads(line) for line in output.splitlines()] == account.output
    assert parquet.read_table(BytesIO(table)).num_rows == load.requests
    return {
        "killed while writing": "the output at its destination",
        "tried by another after s": round(refused, 1),
        "delivered": [len(output), len(table)],
        "results stored twice": account.stored_twice,
    }


def _said(cluster: Cluster) -> int:
    return sum(worker.count_in_log("storage") for worker in cluster.alive("worker"))
