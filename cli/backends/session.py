"""The settings, the catalog and the ledger that a command uses."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from batchchat.jobs.catalog.catalog import Catalog, Model, load_catalog
from batchchat.jobs.execution.progress import Progress
from batchchat.jobs.ledger.checkpoint_reader import CheckpointReader
from batchchat.jobs.ledger.keys import TOP_FOLDERS
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.state import State
from batchchat.jobs.private_files import restrict
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.settings import Settings, data_folder, load_settings
from batchchat.jobs.storage import LocalStorage, open_storage

if TYPE_CHECKING:
    from batchchat.workers.cluster_status import ClusterStatus
    from batchchat.workers.engine.driver import EngineDriver


@dataclass
class Session:
    """The objects that the settings describe."""

    settings: Settings
    catalog: Catalog
    ledger: Ledger

    @property
    def models(self) -> Path:
        """The folder for generated models, such as `demo`."""
        return Path(self.settings.model_cache).expanduser()

    @property
    def renderers(self) -> RendererRegistry:
        """The prompt renderers of the catalog's models."""
        return RendererRegistry(self.catalog, self.models)

    @cached_property
    def cluster(self) -> "ClusterStatus | None":
        """The cluster that runs batches, None if this process does."""
        if self.settings.broker is None:
            return None
        from batchchat.workers.cluster_status import ClusterStatus

        return ClusterStatus(self.settings.broker)

    @cached_property
    def _checkpoints(self) -> CheckpointReader:
        return CheckpointReader(self.ledger)

    def state(self, batch_id: str) -> State:
        """Return the state of a batch, with the results that are not committed yet.

        Raises `NotFoundError`.
        """
        state = self.ledger.state(batch_id, with_extension=True)
        if self.cluster:
            return self.cluster.with_progress(state)
        return self._checkpoints.add_checkpoints(state)

    def start_engine(
        self, model: Model, progress: Progress | None = None
    ) -> "EngineDriver":
        """Return a running engine; `progress` shows the steps of its start.

        Raises `EngineStartError`, `ModelNotFoundError`.
        """
        from batchchat.workers.engine.startup import start_engine

        on_step = (progress or Progress()).on_loading_step
        return start_engine(model, self.models, self.settings, on_step)

    @property
    def locks(self) -> Path:
        """The folder of this machine's lock files."""
        return data_folder() / "locks"


def open_session() -> Session:
    """Open what the settings describe. Raises `ConfigError`."""
    settings = load_settings()
    catalog = load_catalog(settings.config)
    storage = open_storage(
        settings.storage,
        s3_endpoint=settings.s3_endpoint,
        s3_path_style=settings.s3_path_style,
    )
    restrict(data_folder())
    if isinstance(storage, LocalStorage):
        storage.restrict(TOP_FOLDERS)
    return Session(settings, catalog, Ledger(storage, settings.project))
