"""Exit with 0 if a worker or controller of this host reports to the cluster.

`python -m batchchat.workers.healthcheck` is the health check of the containers in
`docker-compose.yml`: each container has a host name of its own.
"""

import socket
import sys

from batchchat.jobs.errors import BatchchatError
from batchchat.jobs.printable import printable
from batchchat.jobs.settings import load_settings
from batchchat.workers.cluster_status import ClusterStatus, storage_problem


def main() -> int:
    """Return the exit status; print why it is not 0."""
    host = socket.gethostname()
    try:
        broker = load_settings().broker
        if broker is None:
            sys.stderr.write("BATCHCHAT_BROKER is not set\n")
            return 1
        here = [it for it in ClusterStatus(broker).workers() if it.host == host]
    except BatchchatError as error:
        sys.stderr.write(f"{printable(error.message)}\n")
        return 1
    if here and all(worker.storage_problem for worker in here):
        sys.stderr.write(f"{storage_problem(here)}\n")
        return 1
    if not here:
        sys.stderr.write(f"no worker or controller on {host} has reported recently\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
