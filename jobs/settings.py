"""Every setting, in one place: the only reader of the environment."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from batchchat.jobs.errors import ConfigError, OutputError
from batchchat.jobs.storage.destination import Destination


def data_folder() -> Path:
    """Return the user's data folder, as the XDG base directories say."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "batchchat"


class Settings(BaseSettings):
    """Settings from `BATCHCHAT_*`, then from `batchchat.toml`, then as here."""

    model_config = SettingsConfigDict(
        env_prefix="BATCHCHAT_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    storage: str = Field(default_factory=lambda: str(data_folder() / "storage"))
    """Where batches live: a path, `file:///folder` or `s3://bucket/prefix`."""

    s3_endpoint: str | None = None
    """The URL of an S3 server that isn't AWS; credentials come as boto3 finds them."""

    s3_path_style: bool | None = None
    """Whether URLs have the bucket in their path; unset, if there is an endpoint."""

    broker: str | None = None
    """The Redis of a cluster, as `redis://host:6379/0`; unset, no cluster is used."""

    url: str | None = None
    """A server to work with, as `http://host:8000`; unset, batches are kept here."""

    api_key: SecretStr | None = None
    """The key to that server; `batchchat keys create` makes them there."""

    project: str = "default"
    """Whose batches these are; projects do not see each other's."""

    config: Path | None = None
    """A TOML file with settings, and with models under `[models.NAME]`."""

    model_cache: str = Field(default_factory=lambda: str(data_folder() / "models"))
    """Where the demo model is made."""

    shard_requests: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Requests in a shard, at most."""

    shard_bytes: Annotated[int, Field(ge=1_024)] = 8 * 1024 * 1024
    """Bytes of input in a shard, at most, unless one line is larger."""

    max_line_bytes: Annotated[int, Field(ge=1_024)] = 8 * 1024 * 1024
    """Bytes of one line, at most; a longer one is a bad line."""

    checkpoint_seconds: Annotated[float, Field(gt=0, le=600)] = 2.0
    """Seconds between a result and the checkpoint that keeps it, at most."""

    deduplicate_requests: bool = True
    """Compute requests once that are alike and greedy, or seeded alike."""

    grace_seconds: Annotated[float, Field(ge=0)] = 5.0
    """Seconds that running requests get to finish when a run is stopped."""

    retry_timeout_seconds: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that a failing storage is given to come back; a cluster's worker waits
    for as long as it takes."""

    lease_seconds: Annotated[float, Field(ge=1)] = 15.0
    """Seconds after which a worker that says nothing more has lost its shards."""

    controller_interval_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Seconds between two looks of the controller at what is to be done."""

    stall_seconds: Annotated[float, Field(ge=1)] = 120.0
    """Seconds without any progress after which a worker gives its engine up."""

    host: str = "127.0.0.1"
    """The address that `batchchat serve` listens on."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """The port that it listens on; 0 takes a free one."""

    max_file_bytes: Annotated[int, Field(ge=1)] = 16 * 1024**3
    """Bytes of an uploaded file, at most."""

    max_batch_requests: Annotated[int, Field(ge=1)] = 50_000_000
    """Lines of a batch's input that the API takes, at most."""

    upload_idle_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds for which an upload may bring nothing."""

    output_prefixes: Annotated[tuple[str, ...], NoDecode] = ()
    """Where batches of the API may have their results written, beside the storage:
    below these, separated by commas, as `s3://bucket/exports/{project}/` or
    `/srv/exports/`; unset, nowhere. `{project}` stands for the name of the project."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """How often a project may ask the API; unset, as often as it likes."""

    webhooks_allow_private: bool = False
    """Whether webhooks may go to this network's own addresses, and by plain http."""

    engine_process: Annotated[str, Field(pattern="^(auto|in_process|subprocess)$")] = (
        "auto"
    )
    """Whether vLLM's core runs inside this process or in one of its own."""

    engine_log: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "error"
    """How much vLLM says on stderr: debug, info, warning or error."""

    simulated_tokens_per_second: Annotated[float, Field(gt=0)] | None = None
    """For load tests: generate random text at this rate per request, without loading
    a model; unset, vLLM runs."""

    @property
    def engine_in_subprocess(self) -> bool | None:
        """Whether vLLM's core gets a process of its own; None lets vLLM choose."""
        choices = {"in_process": False, "subprocess": True}
        return choices.get(self.engine_process)

    @field_validator("output_prefixes", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
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
        """Read the environment before the file that it names."""
        del dotenv_settings, file_secret_settings
        named = os.environ.get("BATCHCHAT_CONFIG")
        file = TomlConfigSettingsSource(settings_cls, Path(named) if named else None)
        return init_settings, env_settings, file


def load_settings() -> Settings:
    """Return the settings in force.

    Raises:
        ConfigError: one of them is wrong; the message names it.

    """
    named = os.environ.get("BATCHCHAT_CONFIG")
    if named and not Path(named).is_file():
        raise ConfigError(f"BATCHCHAT_CONFIG: there is no file `{named}`")
    try:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"BATCHCHAT_CONFIG: can't read `{named}`: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = "BATCHCHAT_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"{name}: {first['msg']}") from None
