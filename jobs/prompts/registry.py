"""The prompters of the catalog's models, each loaded once."""

from pathlib import Path

from batchchat.jobs.catalog.catalog import Catalog
from batchchat.jobs.errors import ModelNotFoundError
from batchchat.jobs.prompts.renderer import PromptRenderer, load_local_renderer


class RendererRegistry:
    """Finds a model's prompter by the model's name."""

    def __init__(self, catalog: Catalog, models: Path) -> None:
        """`models` is where the demo model is made."""
        self.catalog = catalog
        self._models = models
        self._loaded: dict[str, PromptRenderer] = {}

    def get(self, name: str) -> PromptRenderer:
        """Return the prompter of the model called `name`.

        Raises:
            ModelNotFoundError: there is no such model, or its files are not at hand.
            ConfigError: it has no usable chat template.

        """
        if name not in self._loaded:
            model = self.catalog.find(name)
            self._loaded[name] = load_local_renderer(model, self._models)
        return self._loaded[name]

    def get_if_local(self, name: str) -> PromptRenderer | None:
        """Return the same, or None where the model's files are not at hand."""
        try:
            return self.get(name)
        except ModelNotFoundError:
            return None
