"""Starts an engine, prints the process id of its core, and waits to be killed."""

import multiprocessing
import sys
import time
from pathlib import Path

from batchchat.jobs.catalog.catalog import load_catalog
from batchchat.workers.engine.vllm_startup import start_vllm

if __name__ == "__main__":
    start_vllm(
        load_catalog().find("demo"),
        Path(sys.argv[1]),
        in_subprocess=True,
        log_level="error",
    )
    (child,) = multiprocessing.active_children()
    print(child.pid, flush=True)  # noqa: T201
    time.sleep(600)
