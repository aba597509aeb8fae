"""The model catalog: sources, prices and engine arguments of models by name."""

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import resources
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from batchchat.jobs.catalog.template_source import template_text
from batchchat.jobs.catalog.usage import Price
from batchchat.jobs.errors import ConfigError, ModelNotFoundError
from batchchat.jobs.setting_errors import (
    allowed,
    dotted,
    field_types,
    parse_path,
    type_at,
    unknown_field,
    value_at,
    wrong_value,
)

SpecialToken = Literal["bos_token", "eos_token", "unk_token", "pad_token", "sep_token"]
"""Names of special tokens that a chat template may use."""


def gpu_count(arguments: Mapping[str, Any]) -> int:
    """Return how many GPUs an engine with these arguments uses."""
    sizes = ("tensor_parallel_size", "pipeline_parallel_size")
    return prod(int(arguments.get(size) or 1) for size in sizes)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalog; absent fields default to the model's own files.

    `source` is a hub id, a folder, or `demo`. `engine` holds arguments of vLLM's
    `EngineArgs`. `tool_parser` and `reasoning_parser` name vLLM's parsers, which find
    tool calls and reasoning in generated text. In a catalog file, `chat_template` is a
    template, a path, or the name of a built-in template; in the result of
    `Catalog.find` it is the template, so that plans contain the template they use.
    """

    name: str
    source: str
    aliases: list[str] = []
    description: str = ""
    revision: str | None = None
    chat_template: str | None = None
    special_tokens: dict[SpecialToken, str] = {}
    context_length: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stop: list[str] = []
    stop_token_ids: list[int] = []
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    turn_markers: list[str] = []
    """Texts that separate turns in the template; messages must not contain them."""
    allow_special_tokens: bool = False
    """Whether special tokens and turn markers in messages may have an effect."""
    engine: dict[str, Any] = {}
    price: Price | None = None
    gpu_hour: Decimal | None = None
    """The price of one GPU for an hour, in US dollars."""

    def __post_init__(self) -> None:
        """Reject an invalid price; msgspec turns this into a ValidationError."""
        price = self.gpu_hour
        if price is not None and not (price.is_finite() and price >= 0):
            raise ValueError("`gpu_hour` must be a number of at least 0")

    def engine_cost(self, seconds: float) -> Decimal | None:
        """Return the cost of the engine's GPUs in US dollars, None without a price."""
        return self.gpu_cost(seconds * self.gpus)

    def gpu_cost(self, gpu_seconds: float) -> Decimal | None:
        """Return the cost of a GPU for `gpu_seconds`, None if no price is set."""
        if self.gpu_hour is None:
            return None
        hours = Decimal(repr(gpu_seconds)) / 3600
        return round(self.gpu_hour * hours, 6)

    @property
    def gpus(self) -> int:
        """The number of GPUs that an engine of the model uses."""
        return gpu_count(self.engine)

    @property
    def renders_without_files(self) -> bool:
        """Whether prompts can be rendered without the model's files."""
        return bool(self.chat_template and self.special_tokens)


class Catalog:
    """Finds models by name, alias, hub id or path of a folder."""

    def __init__(
        self,
        models: dict[str, Model],
        *,
        is_restricted: bool = False,
        engine: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Hold `models` by name; a restricted catalog finds no others.

        The engine arguments in `engine` override those of every model.
        """
        self.engine = dict(engine)
        self._models = {name: self.overridden(one) for name, one in models.items()}
        self._is_restricted = is_restricted
        self._aliases = {
            alias: model for model in self._models.values() for alias in model.aliases
        }

    def __iter__(self) -> Iterator[Model]:
        """Yield the models of the catalog."""
        return iter(self._models.values())

    def restricted(self) -> "Catalog":
        """Return a catalog that finds no folders and hub ids, for untrusted callers."""
        return Catalog(self._models, is_restricted=True, engine=self.engine)

    def with_engine(self, arguments: Mapping[str, Any]) -> "Catalog":
        """Return a catalog in which `arguments` override those of every engine."""
        engine = self.engine | dict(arguments)
        return Catalog(self._models, is_restricted=self._is_restricted, engine=engine)

    def overridden(self, model: Model) -> Model:
        """Return a model with the engine arguments that override its own."""
        return msgspec.structs.replace(model, engine=model.engine | self.engine)

    def find(self, name: str) -> Model:
        """Return the model that `name` refers to; an alias is resolved to its model.

        Raises:
            ModelNotFoundError: `name` is not in the catalog, a folder, or a hub id.
            ConfigError: the chat template of the model can't be read.

        """
        model = self.entry(name)
        if model is not None:
            return _with_template(model)
        if self._is_restricted:
            raise ModelNotFoundError(
                f"unknown model `{name[:80]}`: not in the catalog of this server",
                hint="add it to the file that BATCHCHAT_CONFIG names",
            )
        if _is_folder(name):
            source = str(Path(name).expanduser().absolute())
            return self.overridden(Model(name=name, source=source))
        if _is_hub_id(name):
            return self.overridden(Model(name=name, source=name))
        known = ", ".join(f"`{known}`" for known in sorted(self._models))
        raise ModelNotFoundError(
            f"unknown model `{name}`: not in the catalog, not a folder with a"
            " config.json, not a hub id such as `org/name`",
            hint=f"the catalog contains {known}; see `batchchat models`",
        )

    def entry(self, name: str) -> Model | None:
        """Return the entry that has this name or alias, None if there is none."""
        return self._models.get(name) or self._aliases.get(name)

    def names(self, name: str) -> frozenset[str]:
        """Return all names of the model that `name` refers to."""
        model = self.entry(name)
        if model is None:
            return frozenset([name])
        aliases = (alias for alias in model.aliases if self.entry(alias) is model)
        return frozenset([model.name, *aliases])


def load_catalog(config: Path | None = None) -> Catalog:
    """Return the built-in catalog, extended and overridden by the models of `config`.

    An entry with the name or an alias of a built-in one overrides it field by field.

    Raises:
        ConfigError: `config` can't be read or is invalid.

    """
    built_in = (
        resources.files("batchchat.jobs.catalog")
        .joinpath("catalog.toml")
        .read_text("utf-8")
    )
    models = _models(built_in, "catalog.toml", {})
    if config is not None:
        models |= _models(_text(config), str(config), models)
    return Catalog(models)


def _with_template(model: Model) -> Model:
    template = model.chat_template
    return msgspec.structs.replace(
        model, chat_template=template and template_text(template)
    )


def _text(config: Path) -> str:
    try:
        return config.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"BATCHCHAT_CONFIG: can't read `{config}`: {error}"
        hint = "set it to a readable TOML file, or unset it"
        raise ConfigError(message, hint=hint) from None


def _models(text: str, origin: str, known: dict[str, Model]) -> dict[str, Model]:
    """Return the models of a catalog; its entries override those that are `known`."""
    aliases = {alias: one.name for one in known.values() for alias in one.aliases}
    models: dict[str, Model] = {}
    try:
        entries = tomllib.loads(text).get("models", {})
    except tomllib.TOMLDecodeError as error:
        raise _invalid(f"`{origin}` is not valid TOML: {error}") from None
    if not isinstance(entries, dict):
        raise _invalid(wrong_value(f"`models` in `{origin}`", dict, entries))
    for entry_name, entry in entries.items():
        name = aliases.get(str(entry_name), str(entry_name))
        base = models.get(name) or known.get(name)
        models[name] = _model(name, entry, base, origin)
    return models


def _model(name: str, entry: Any, base: Model | None, origin: str) -> Model:
    place = f"`[models.{name}]` in `{origin}`"
    if not isinstance(entry, dict):
        raise _invalid(wrong_value(f"`models.{name}` in `{origin}`", dict, entry))
    _check_names(place, entry, field_types(Model))
    if isinstance(price := entry.get("price"), dict):
        price_place = f"`[models.{name}.price]` in `{origin}`"
        _check_names(price_place, price, field_types(Price))
    fields = msgspec.structs.asdict(base) if base else {}
    try:
        return msgspec.convert({**fields, **entry, "name": name}, Model)
    except msgspec.ValidationError as error:
        raise _invalid(_described(error, entry, place)) from None


def _described(error: msgspec.ValidationError, entry: object, place: str) -> str:
    """Return the message for an entry of another form than `Model`'s."""
    problem, _, at = str(error).partition(" - at `")
    path = parse_path(at.rpartition("$")[2])
    if problem.startswith("Object missing required field"):
        path.append(problem.split("`")[1])
        return f"{place} has no `{dotted(path)}`"
    if at.startswith("key"):
        keys = f"the names in `{dotted(path)}` of {place} must be"
        return f"{keys} {allowed(SpecialToken)}"
    if not problem.startswith(("Expected", "Invalid")):  # the words of a class here
        return f"{place}: {problem}"
    field = f"`{dotted(path)}` of {place}"
    return wrong_value(field, type_at(Model, path), value_at(entry, path))


def _check_names(place: str, entry: dict[str, Any], fields: Mapping[str, Any]) -> None:
    for unknown in sorted(entry.keys() - set(fields)):
        raise _invalid(unknown_field(place, unknown, fields))


def _invalid(message: str) -> ConfigError:
    example = '`[models.mine]` and `source = "org/name"`'
    return ConfigError(message, hint=f"correct the file; an entry looks like {example}")


def _is_folder(name: str) -> bool:
    try:
        return (Path(name).expanduser() / "config.json").is_file()
    except (
        OSError,
        RuntimeError,
    ):  # too long for a path, or an unknown user in `~name`
        return False


def _is_hub_id(name: str) -> bool:
    owner, slash, rest = name.partition("/")
    return bool(slash and owner and rest) and "/" not in rest and owner[0] not in ".~"
