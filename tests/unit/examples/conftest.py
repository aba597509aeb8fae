"""A run of MT-Bench."""

import pytest

from tests.support.mt_bench_run import make_run


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path)
