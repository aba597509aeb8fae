"""All settings. Only this module reads the environment."""

import os
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from batchchat.jobs.errors import ConfigError, OutputError
from batchchat.jobs.project_rules import (
    ProjectRules,
    Retention,
    retention_seconds,
    rules_of,
)
from batchchat.jobs.setting_errors import dotted, type_at, unknown_field, wrong_value
from batchchat.jobs.storage.destination import Destination
from batchchat.jobs.unknown_names import PREFIX, unknown_keys, unknown_variables

_SECRETS = {"api_key", "broker"}
"""Settings whose values are not repeated in errors."""


def data_folder() -> Path:
    """Return the user's data folder, below `XDG_DATA_HOME`."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "batchchat"


class Settings(BaseSettings):
    """Settings from `BATCHCHAT_*`, then the `BATCHCHAT_CONFIG` file, then defaults."""

    model_config = SettingsConfigDict(
        env_prefix="BATCHCHAT_",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    storage: str = Field(default_factory=lambda: str(data_folder() / "storage"))
    """Where batches are stored: a path, `file:///folder` or `s3://bucket/prefix`."""

    s3_endpoint: str | None = None
    """URL of an S3 server other than AWS; boto3 finds the credentials as usual."""

    s3_path_style: bool | None = None
    """Whether URLs contain the bucket in their path; the default is yes with an
    endpoint, and no without."""

    broker: Annotated[str | None, Field(repr=False)] = None
    """The Redis of a cluster, such as `redis://host:6379/0`, or its Sentinels; unset,
    no cluster is used. `docs/redis.md` has all forms."""

    url: str | None = None
    """The server that the commands use, such as `http://host:8000`; unset, they use the
    storage directly."""

    api_key: SecretStr | None = None
    """The API key for that server, made there with `batchchat keys create`."""

    project: str = "default"
    """The project of the batches; projects are isolated from each other."""

    config: Path | None = None
    """A TOML file with settings, and models under `[models.NAME]`."""

    model_cache: str = Field(default_factory=lambda: str(data_folder() / "models"))
    """Folder of the demo model, which is created on first use."""

    shard_requests: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Maximum number of requests in a shard."""

    shard_bytes: Annotated[int, Field(ge=1_024)] = 8 * 1024 * 1024
    """Maximum size of a shard in bytes of input, unless a single line is larger."""

    max_line_bytes: Annotated[int, Field(ge=1_024)] = 8 * 1024 * 1024
    """Maximum size of a line in bytes; longer lines are rejected."""

    checkpoint_seconds: Annotated[float, Field(gt=0, le=600)] = 2.0
    """Maximum time in seconds between a result and the checkpoint that stores it."""

    deduplicate_requests: bool = True
    """Compute identical requests once if they are greedy or have the same seed."""

    reuse: Literal["auto", "none"] = "none"
    """Whether a batch that is created without `reuse` uses the answers of recent
    batches again (`auto`) or not (`none`)."""

    grace_seconds: Annotated[float, Field(ge=0)] = 5.0
    """Time in seconds for running requests to finish when a run is stopped."""

    retry_timeout_seconds: Annotated[float, Field(ge=0)] = 60.0
    """How long to retry a failing storage, in seconds; workers of a cluster retry
    without a limit."""

    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 15.0
    """Lease duration in seconds: a worker that does not renew its lease for this long
    loses its shards."""

    controller_interval_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Time in seconds between two sweeps of the controller over the active batches."""

    stall_seconds: Annotated[float, Field(ge=1)] = 120.0
    """Time in seconds without progress after which an engine is treated as hung."""

    host: str = "127.0.0.1"
    """Address on which `batchchat serve` listens."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port on which `batchchat serve` listens; 0 selects a free one."""

    max_file_bytes: Annotated[int, Field(ge=1)] = 16 * 1024**3
    """Maximum size of an uploaded file in bytes."""

    max_batch_requests: Annotated[int, Field(ge=1)] = 50_000_000
    """Maximum number of requests of a batch that is created through the API, or that
    rows become."""

    upload_idle_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Idle timeout for uploads, in seconds."""

    on_invalid: Literal["openai", "fail", "skip"] = "openai"
    """Which invalid lines fail a batch that is created without `on_invalid`: `openai`
    (those that are no request, such as invalid JSON; an error in a request's body is a
    line of the error file), `fail` (all) or `skip` (none)."""

    output_prefixes: Annotated[tuple[str, ...], NoDecode] = ()
    """Prefixes below which the API may deliver results, separated by commas, such as
    `s3://bucket/exports/{project}/` or `/srv/exports/`; unset, delivery is disabled.
    `{project}` is replaced by the name of the project."""

    retention: Retention | None = None
    """How long ended batches are kept, such as `30d`: controllers and servers delete
    older ones with their results and inputs; unset or `none`, they are kept."""

    projects: dict[str, ProjectRules] = {}
    """What each project may use, in tables `[projects.NAME]`; the rules of `*` hold for
    each project that has none of its own."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of API requests of a project per minute; unset, no limit."""

    metrics: bool = False
    """Whether `GET /metrics` reports metrics for Prometheus, without an API key."""

    webhooks_allow_private: bool = False
    """Whether webhooks may be sent to private addresses and over plain HTTP."""

    engines: str = "1"
    """Number of engines of `submit`, `serve` and `worker`, or `auto`: one on each group
    of GPUs that the model needs. The option `--engines` overrides it."""

    gpus: str | None = None
    """The GPUs that the engines use, such as `0,1`; unset, those that the process may
    use. The option `--gpus` overrides it."""

    engine_process: Literal["auto", "in_process", "subprocess"] = "auto"
    """Where vLLM's core runs: `in_process`, `subprocess`, or `auto` (the first on CPU,
    the second on GPU)."""

    engine_log: Literal["debug", "info", "warning", "error"] = "error"
    """vLLM's log level: `debug`, `info`, `warning` or `error`. `batchchat logs` prints
    the log of a batch; a worker of a cluster logs to stderr."""

    simulated_tokens_per_second: Annotated[float, Field(gt=0)] | None = None
    """For load tests: generate random text at this rate per request, without loading
    a model; unset, vLLM runs."""

    @property
    def engine_in_subprocess(self) -> bool | None:
        """Whether vLLM's core gets a process of its own; None lets vLLM choose."""
        choices = {"in_process": False, "subprocess": True}
        return choices.get(self.engine_process)

    def project_rules(self, project: str) -> ProjectRules:
        """Return the rules of a project."""
        return rules_of(project, self.projects)

    def retention_seconds(self, project: str) -> int | None:
        """Return for how many seconds a project's ended batches are kept."""
        own = self.project_rules(project).retention
        return retention_seconds(self.retention if own is None else own)

    @property
    def deletes_batches(self) -> bool:
        """Whether the ended batches of any project are deleted after some time."""
        rules = self.projects.values()
        chosen = (self.retention, *(rule.retention for rule in rules))
        return any(retention_seconds(one) is not None for one in chosen)

    @field_validator("engines", "gpus", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """Accept numbers of a TOML file."""
        return f"{value}" if isinstance(value, int) else value

    @field_validator("output_prefixes", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, list | tuple):
            return value
        return tuple(part for part in value if part)

    @field_validator("output_prefixes")
    @classmethod
    def _check_prefixes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in value:
            try:
                Destination.parse(prefix.replace("{project}", "project"))
            except OutputError as error:
                raise ValueError(error.message) from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment take precedence over the file that it names."""
        del dotenv_settings, file_secret_settings
        named = os.environ.get("BATCHCHAT_CONFIG")
        file = TomlConfigSettingsSource(settings_cls, Path(named) if named else None)
        return init_settings, env_settings, file


def load_settings() -> Settings:
    """Return the settings.

    Raises:
        ConfigError: a setting is invalid; the message names it.

    """
    named = os.environ.get("BATCHCHAT_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigError(
            f"BATCHCHAT_CONFIG: there is no file `{named}`",
            hint="set it to a TOML file, or run `unset BATCHCHAT_CONFIG`",
        )
    try:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"BATCHCHAT_CONFIG: can't read `{named}`: {error}",
            hint="correct the file, or run `unset BATCHCHAT_CONFIG`",
        ) from None
    except ValidationError as error:
        raise _invalid(error.errors()[0]) from None
    except SettingsError as error:
        name = PREFIX + str(error).split('"')[1].upper()
        raise ConfigError(
            f"{name} is not JSON",
            hint=f"set it in the file that BATCHCHAT_CONFIG names, or `unset {name}`",
        ) from None


def _invalid(error: ErrorDetails) -> ConfigError:
    """Return the error for a value that a setting can't have."""
    field, *path = [step for step in error["loc"] if isinstance(step, str | int)]
    variable = f"{PREFIX}{field}".upper()
    is_variable = any(
        name.upper() == variable and value for name, value in os.environ.items()
    )
    name = dotted([field, *path])
    file = os.environ.get("BATCHCHAT_CONFIG")
    place = f"`{name}` in `{file}`"
    hint = "correct it, or remove it"
    if is_variable:
        place = f"{variable}: `{dotted(path)}`" if path else variable
        hint = f"correct it, or run `unset {variable}`"
    message = _message(error, place, [field, *path])
    return ConfigError(message, hint=f"{hint}; docs/settings.md describes it")


def _message(error: ErrorDetails, place: str, path: list[str | int]) -> str:
    if error["type"] == "value_error":
        return f"{place}: {error['ctx']['error']}"
    if error["type"] == "extra_forbidden":
        return unknown_field(
            f"`[{dotted(path[:-1])}]`", str(path[-1]), ProjectRules.model_fields
        )
    is_secret = path[0] in _SECRETS
    kind = type_at(Settings, path)
    return wrong_value(place, kind, error["input"], is_secret=is_secret)


def unknown_settings() -> list[str]:
    """Return a warning for each name that is no setting, in the environment and file.

    A file that can't be read has none: `load_settings` reports it.
    """
    fields = Settings.model_fields
    found = [*unknown_variables(os.environ, fields)]
    named = os.environ.get("BATCHCHAT_CONFIG")
    if named:
        with suppress(OSError, ValueError):
            document = tomllib.loads(Path(named).read_text("utf-8"))
            found += unknown_keys(document, named, fields)
    return found
