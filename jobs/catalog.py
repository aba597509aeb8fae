"""The models by name: where each comes from, what it costs, how it is run."""

import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from jobs.errors import ConfigError, ModelNotFoundError
from jobs.usage import Price


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalog; what is absent is the model's own.

    `source` is a hub id, a folder, or `demo`. `engine` are arguments of vLLM's
    `EngineArgs`. `chat_template` is a template's text, or a file's path.
    """

    name: str
    source: str
    description: str = ""
    revision: str | None = None
    chat_template: str | None = None
    context_length: int | None = None
    stop: list[str] = []
    stop_token_ids: list[int] = []
    engine: dict[str, Any] = {}
    price: Price | None = None


class Catalog:
    """Finds a model by its name, by a hub id, or by a folder's path."""

    def __init__(self, models: dict[str, Model]) -> None:
        """Hold `models` by name."""
        self._models = models

    def __iter__(self) -> Iterator[Model]:
        """Yield the named models."""
        return iter(self._models.values())

    def find(self, name: str) -> Model:
        """Return the model that `name` means.

        Raises:
            ModelNotFoundError: it is no name here, no folder and no hub id.

        """
        if name in self._models:
            return self._models[name]
        if _is_folder(name):
            return Model(name=name, source=str(Path(name).expanduser().absolute()))
        if _is_hub_id(name):
            return Model(name=name, source=name)
        known = ", ".join(f"`{known}`" for known in sorted(self._models))
        raise ModelNotFoundError(
            f"no model `{name}`: it is not in the catalog, no folder with a"
            " config.json, and no hub id such as `org/name`",
            hint=f"the catalog has {known}; see `batchchat models`",
        )


def load_catalog(config: Path | None = None) -> Catalog:
    """Return the catalog that is built in, with `config`'s models over it.

    Raises:
        ConfigError: `config` can't be read or holds something else.

    """
    built_in = resources.files("jobs").joinpath("catalog.toml").read_text("utf-8")
    models = _models(built_in, "catalog.toml")
    if config is not None:
        models |= _models(_text(config), str(config))
    return Catalog(models)


def _text(config: Path) -> str:
    try:
        return config.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"BATCHCHAT_CONFIG: can't read `{config}`: {error}"
        raise ConfigError(message) from None


def _models(text: str, origin: str) -> dict[str, Model]:
    try:
        entries = tomllib.loads(text).get("models", {})
        return {name: _model(name, entry) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError) as error:
        message = f"`{origin}`: the model catalog is wrong: {error}"
        hint = 'an entry looks like `[models.mine]` and `source = "org/name"`'
        raise ConfigError(message, hint=hint) from None


def _model(name: str, entry: dict[str, Any]) -> Model:
    unknown = entry.keys() - set(Model.__struct_fields__)
    if unknown:
        raise ValueError(f"`{name}` has no field `{min(unknown)}`")
    return msgspec.convert({**entry, "name": name}, Model)


def _is_folder(name: str) -> bool:
    try:
        return (Path(name).expanduser() / "config.json").is_file()
    except (OSError, RuntimeError):  # too long for a path, or nobody's `~name`
        return False


def _is_hub_id(name: str) -> bool:
    owner, slash, rest = name.partition("/")
    return bool(slash and owner and rest) and "/" not in rest and owner[0] not in ".~"
