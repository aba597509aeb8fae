"""A server has fewer connections than the files that it may open."""

import resource

import pytest

from batchchat.api.server.descriptors import max_connections, raise_limit


@pytest.fixture
def limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_at_start(limits):
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    raise_limit()
    soft, same_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert same_hard == hard
    assert soft == min(hard, 65_536)


@pytest.mark.usefixtures("limits")
def test_a_higher_limit_is_kept():
    raise_limit()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.parametrize(
    ("files", "connections"),
    [(128, 16), (1_024, 384), (4_096, 1_920), (65_536, 4_096)],
)
def test_connections_stay_below_the_limit_of_open_files(
    monkeypatch, files, connections
):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert max_connections(4_096) == connections
