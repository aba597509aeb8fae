"""The models by name: where each comes from, what it costs, how it is run."""

import tomllib
from collections.abc import Iterator
from decimal import Decimal
from importlib import resources
from math import prod
from pathlib import Path
from typing import Any, Literal

import msgspec

from batchchat.jobs.catalog.template_source import template_text
from batchchat.jobs.catalog.usage import Price
from batchchat.jobs.errors import ConfigError, ModelNotFoundError

SpecialToken = Literal["bos_token", "eos_token", "unk_token", "pad_token", "sep_token"]
"""What a chat template may call a token that stands for no text."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalog; what is absent is the model's own.

    `source` is a hub id, a folder, or `demo`. `aliases` are other names of it.
    `engine` are arguments of vLLM's `EngineArgs`. `tool_parser` and
    `reasoning_parser` are names of vLLM's parsers, which find tool calls and
    reasoning in what the model writes. In a catalog `chat_template` is a
    template's text, a file's path, or the name of a shipped one; in a model that was
    found it is the text, so that a plan holds what its prompts are made with.
    """

    name: str
    source: str
    aliases: list[str] = []
    description: str = ""
    revision: str | None = None
    chat_template: str | None = None
    special_tokens: dict[SpecialToken, str] = {}
    context_length: int | None = None
    stop: list[str] = []
    stop_token_ids: list[int] = []
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    turn_markers: list[str] = []
    """Plain text by which the template tells turns apart; no message may spell it."""
    allow_special_tokens: bool = False
    """Whether a message may spell special tokens and markers, and be taken so."""
    engine: dict[str, Any] = {}
    price: Price | None = None
    gpu_hour: Decimal | None = None
    """What an hour of one of your GPUs costs, in US dollars."""

    def engine_cost(self, seconds: float) -> Decimal | None:
        """Return what the GPUs cost for so long, None where no price is set."""
        if self.gpu_hour is None:
            return None
        parallel = ("tensor_parallel_size", "pipeline_parallel_size")
        gpus = prod(int(self.engine.get(name, 1)) for name in parallel)
        hours = Decimal(repr(seconds)) / 3600
        return round(self.gpu_hour * gpus * hours, 6)

    @property
    def renders_without_files(self) -> bool:
        """Say whether the entry has all that a prompt needs, without any file."""
        return bool(self.chat_template and self.special_tokens)


class Catalog:
    """Finds a model by its name or an alias, by a hub id, or by a folder's path."""

    def __init__(
        self, models: dict[str, Model], *, is_restricted: bool = False
    ) -> None:
        """Hold `models` by name; a closed catalog has these and finds no others."""
        self._models = models
        self._is_restricted = is_restricted
        self._aliases = {
            alias: model for model in models.values() for alias in model.aliases
        }

    def __iter__(self) -> Iterator[Model]:
        """Yield the named models."""
        return iter(self._models.values())

    def restricted(self) -> "Catalog":
        """Return the same for callers who may name no folder and no other model."""
        return Catalog(self._models, is_restricted=True)

    def find(self, name: str) -> Model:
        """Return the model that `name` means, called as it was asked for.

        Raises:
            ModelNotFoundError: it is no name here, no folder and no hub id.
            ConfigError: its chat template can't be read.

        """
        model = self._models.get(name) or self._aliases.get(name)
        if model is not None:
            return _found(model, name)
        if self._is_restricted:
            raise ModelNotFoundError(
                f"no model `{name[:80]}`: it is not in this server's catalog",
                hint="an entry of BATCHCHAT_CONFIG adds it",
            )
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
    built_in = (
        resources.files("batchchat.jobs.catalog")
        .joinpath("catalog.toml")
        .read_text("utf-8")
    )
    models = _models(built_in, "catalog.toml")
    if config is not None:
        models |= _models(_text(config), str(config))
    return Catalog(models)


def _found(model: Model, name: str) -> Model:
    template = model.chat_template
    return msgspec.structs.replace(
        model, name=name, chat_template=template and template_text(template)
    )


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
