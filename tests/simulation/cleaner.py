"""An operator who deletes ended batches while others run."""

from collections.abc import Iterator
from contextlib import suppress

from batchchat.jobs.deletion.deletion import Deleter
from batchchat.jobs.errors import BatchchatError, NotFoundError
from batchchat.jobs.ledger.ledger import Ledger
from tests.simulation.cluster import Cluster
from tests.simulation.virtual_time import EPOCH

_MORE_USERS = 4
_DAYS = 3 * 86_400


class Cleaner:
    """Deletes batches soon after their end, and continues what was interrupted."""

    def __init__(self, cluster: Cluster) -> None:
        """Act on `cluster`, which gets more users."""
        self._cluster = cluster
        self._asked: dict[str, str] = {}
        """The project of each batch whose deletion was asked for."""

        self._deleted: set[str] = set()
        self._is_busy = False

    def start(self) -> None:
        """Start the users and the deletions."""
        cluster = self._cluster
        for number in range(_MORE_USERS):
            cluster.users_left += 1
            cluster._operate(cluster._use, 3 + number)
        cluster._operate(self._clean)

    @property
    def is_idle(self) -> bool:
        """Whether no deletion is under way."""
        return not self._is_busy

    def _clean(self) -> None:
        world = self._cluster.world
        while True:
            world.sleep(world.rng.uniform(0, 6))
            ended = sorted(self._ended())
            if ended and world.rng.random() < 0.7:
                self._is_busy = True
                self._delete(*world.rng.choice(ended))
                self._is_busy = False

    def _ended(self) -> Iterator[tuple[str, str]]:
        for project in self._cluster.projects:
            ledger = Ledger(self._cluster.bucket, project)
            for batch_id in ledger.batch_ids():
                with suppress(BatchchatError):
                    if (
                        batch_id not in self._asked
                        and ledger.state(batch_id).is_terminal
                    ):
                        yield project, batch_id

    def _delete(self, project: str, batch_id: str) -> None:
        """Delete a batch in processes that may be killed, until one succeeds."""
        cluster, done = self._cluster, list[bool]()
        self._asked[batch_id] = project

        def delete() -> None:
            ledger = Ledger(cluster.bucket_client, project, cluster.world.wall)
            try:
                Deleter(ledger).delete(batch_id)
            except NotFoundError:  # an earlier process has finished it
                self._deleted.add(batch_id)
                done.append(True)
            except BatchchatError as error:
                if not error.retryable and error.code == "conflict":
                    done.append(False)
            else:
                self._deleted.add(batch_id)
                done.append(True)

        cluster._retry(delete, lambda: bool(done))
        if not done[-1]:
            del self._asked[batch_id]

    def problems(self) -> Iterator[str]:
        """Yield what is left of deleted batches days after the end."""
        bucket = self._cluster.bucket
        later = EPOCH + self._cluster.world.now + _DAYS
        for project in self._cluster.projects:
            for seconds in (0, _DAYS):
                clock = Ledger(bucket, project, lambda: later + seconds)  # noqa: B023
                Deleter(clock).sweep()
        for batch_id, project in self._asked.items():
            left = [key for key in bucket.keys("") if batch_id in key]
            is_stored = Ledger(bucket, project).listing.is_stored(batch_id)
            if is_stored and batch_id in self._deleted:
                yield f"{batch_id} exists again"
            if left and not is_stored:
                yield f"{batch_id} was deleted, and these are left: {left}"
