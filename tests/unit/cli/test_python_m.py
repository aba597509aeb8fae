"""`python -m batchchat` is the command, for the processes that it spawns too."""

import subprocess
import sys

SCRIPT = """
import runpy, sys
from multiprocessing.spawn import get_preparation_data
from batchchat.cli.terminal import streams

streams.print_data = lambda _: print(get_preparation_data("a child"))
sys.argv = ["batchchat", "--version"]
runpy.run_module("batchchat", run_name="__main__", alter_sys=True)
"""


def test_spawned_processes_import_the_module_that_binds_their_life():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert "'init_main_from_name': 'batchchat.cli.main'" in done.stdout
