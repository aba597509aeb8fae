"""The items of docs/failures.md: what is done to a cluster while it runs a batch."""

from collections.abc import Callable

from tests.chaos import early_ends, process_faults, service_faults
from tests.chaos.cluster import Cluster
from tests.chaos.load import Load
from tests.chaos.series import Seen

ITEMS: dict[int, tuple[str, Callable[[Cluster, Load], Seen]]] = {
    1: ("kill -9 of workers, repeatedly", process_faults.kill_workers),
    2: ("kill -9 of the engine's process", process_faults.kill_engines),
    3: ("SIGTERM to a worker", process_faults.terminate_worker),
    4: ("Redis flushed, stopped, and started empty", service_faults.lose_redis),
    5: ("every message delivered twice", service_faults.duplicate_messages),
    6: ("random faults of the bucket for a minute", service_faults.disturb_bucket),
    7: ("both controllers killed while they write", process_faults.kill_controllers),
    8: ("a request that kills engines", process_faults.send_poison_request),
    9: ("a batch cancelled and one expired mid-run", early_ends.cancel_and_expire),
    10: ("clocks an hour off, and a frozen worker", process_faults.skew_clocks),
    11: ("a full bucket, later freed", service_faults.fill_storage),
    12: ("controllers killed while they deliver", service_faults.interrupt_delivery),
}
