"""The prompt renderers of the catalog's models, each loaded once."""

from pathlib import Path

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import ModelNotFoundError
from batchchat.jobs.prompts.loader import load_local_renderer
from batchchat.jobs.prompts.renderer import PromptRenderer


class RendererRegistry:
    """Loads and caches prompt renderers by model name."""

    def __init__(self, catalog: Catalog, models_folder: Path) -> None:
        """Look models up in `catalog`; the demo model is built in `models_folder`."""
        self.catalog = catalog
        self._models_folder = models_folder
        self._loaded: dict[str, PromptRenderer] = {}

    def get(self, name: str) -> PromptRenderer:
        """Return the renderer of the model `name`.

        Raises:
            ModelNotFoundError: there is no such model, or its files are not available.
            ConfigError: the model has no usable chat template.

        """
        if name not in self._loaded:
            model = self.catalog.find(name)
            self._loaded[name] = load_local_renderer(model, self._models_folder)
        return self._loaded[name]

    def get_if_local(self, name: str) -> PromptRenderer | None:
        """Return the renderer, None if the model's files are not available."""
        try:
            return self.get(name)
        except ModelNotFoundError:
            return None
