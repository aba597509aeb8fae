"""Batches that end early: they are cancelled, or their time is over."""

import time

from tests.chaos.cluster import PATIENCE_SECONDS, Cluster, until
from tests.chaos.load import Load
from tests.chaos.series import CLOCK_FOLDER, Seen

_DAY = 86_400


def cancel(cluster: Cluster, load: Load) -> Seen:
    """Cancel a batch in the middle."""
    batch_id = cluster.submit(load.data)
    until(lambda: cluster.has_results(batch_id), "an answer that is stored")
    began = time.monotonic()
    cluster.run("cancel", batch_id)
    account = cluster.wait_for_end(batch_id)
    seconds = time.monotonic() - began
    load.check(account, "cancelled")
    assert set(account.codes) == {"batch_cancelled"}
    return {
        "cancelled: kept, not run": [len(account.output), len(account.errors)],
        "cancelled: ended after s": round(seconds, 1),
    }


def expire(cluster: Cluster, load: Load) -> Seen:
    """Have a batch's day end in its middle: a controller comes whose clock says so."""
    batch_id = cluster.submit(load.data)
    until(lambda: cluster.has_results(batch_id), "an answer that is stored")
    for controller in cluster.alive("controller"):
        controller.terminate()
        controller.end(PATIENCE_SECONDS)
    began = time.monotonic()
    ahead = cluster.controller(PYTHONPATH=CLOCK_FOLDER, SECONDS_OFF=f"{_DAY}")
    account = cluster.wait_for_end(batch_id)
    seconds = time.monotonic() - began
    ahead.terminate()
    ahead.end(PATIENCE_SECONDS)
    load.check(account, "expired")
    assert set(account.codes) == {"batch_expired"}
    return {
        "expired: kept, not run": [len(account.output), len(account.errors)],
        "expired: ended after s, a controller's start included": round(seconds, 1),
    }


def cancel_and_expire(cluster: Cluster, load: Load) -> Seen:
    """Cancel a batch in the middle, and let another one expire there."""
    seen = cancel(cluster, load)
    return seen | expire(cluster, load)
