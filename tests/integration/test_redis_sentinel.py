"""Clients find the master through Sentinels, and follow a failover."""

import pytest

from batchchat.jobs.errors import BrokerError
from batchchat.workers.broker.leases import RedisLeases
from batchchat.workers.broker.redis_check import check_redis
from batchchat.workers.broker.redis_client import open_redis
from tests.integration.consumers import consumer_process
from tests.support.servers.redis_sentinel import redis_sentinel
from tests.support.wait import wait_until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    with redis_sentinel(tmp_path_factory.mktemp("sentinel")) as one:
        yield one


def try_acquire(leases):
    try:
        return leases.acquire("b")
    except BrokerError:
        return False


def test_clients_and_consumers_follow_a_failover(sentinels, tmp_path):
    url, first = sentinels.url, sentinels.master
    leases = RedisLeases(open_redis(url), "one", 10)
    with consumer_process(url, tmp_path) as consumer:
        assert consumer.takes_message(url)
        assert leases.acquire("a")
        sentinels.servers[0].stop()
        wait_until(lambda: sentinels.master != first)
        wait_until(lambda: try_acquire(leases))
        assert consumer.takes_message(url)
        assert "Traceback" not in consumer.log.read_text()
    assert check_redis(open_redis(url)).problem == ""


def test_sentinels_that_do_not_know_the_master_are_reported(sentinels):
    redis = open_redis(sentinels.url.replace("mymaster", "another"))
    with pytest.raises(BrokerError, match="No master found for 'another'") as failed:
        check_redis(redis)
    assert "Sentinels" in (failed.value.hint or "")
