"""What tests have started ends if they are killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.processes import living
from tests.support.wait import wait_until

pytestmark = pytest.mark.server
_ROOT = Path(__file__).parents[2]
_SCRIPT = """
import sys
from pathlib import Path
from tests.support.servers.redis_server import redis_server
with redis_server(Path(sys.argv[1])) as server:
    print(server.process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_the_tests_that_started_it(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, tmp_path],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout
        pid = int(tests.stdout.readline())
        assert pid in {one.pid for one in living()}
        tests.send_signal(number)
        wait_until(lambda: pid not in {one.pid for one in living()})
