"""The prompt renderers of the catalog's models, each loaded once."""

from pathlib import Path

from batchchat.jobs.catalog.catalog import Catalog, Model
from batchchat.jobs.errors import ModelNotFoundError
from batchchat.jobs.prompts.loader import load_local_renderer
from batchchat.jobs.prompts.renderer import PromptRenderer


class RendererRegistry:
    """Loads prompt renderers, and caches the last one of each model name."""

    def __init__(self, catalog: Catalog, models_folder: Path) -> None:
        """Look models up in `catalog`; the demo model is built in `models_folder`."""
        self.catalog = catalog
        self._models_folder = models_folder
        self._loaded: dict[str, tuple[Model, PromptRenderer]] = {}

    def get(self, model: str | Model) -> PromptRenderer:
        """Return the renderer of a model, or of the one with that name in the catalog.

        Raises:
            ModelNotFoundError: there is no such model, or its files are not available.
            ConfigError: the model has no usable chat template.

        """
        if isinstance(model, str):
            model = self.catalog.find(model)
        known, renderer = self._loaded.get(model.name, (None, None))
        if renderer is None or known != model:
            renderer = load_local_renderer(model, self._models_folder)
            self._loaded[model.name] = (model, renderer)
        return renderer

    def get_if_local(self, model: str | Model) -> PromptRenderer | None:
        """Return the renderer, None if the model's files are not available."""
        try:
            return self.get(model)
        except ModelNotFoundError:
            return None
