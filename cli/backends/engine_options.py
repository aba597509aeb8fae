"""What the command line chooses for the engines of a run."""

from dataclasses import dataclass, field
from typing import Any

from batchchat.jobs.errors import UsageError
from batchchat.jobs.settings import Settings


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The options of one command.

    `arguments` override the engine arguments of the catalog. `engines` and `gpus`
    override the settings; None leaves them.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    engines: str | None = None
    gpus: str | None = None

    def refuse(self) -> None:
        """Raise `UsageError` if there are any: the command starts no engine."""
        given = {"engine": self.arguments, "engines": self.engines, "gpus": self.gpus}
        for name in (name for name, value in given.items() if value):
            raise UsageError(
                f"`--{name}` has no effect here: other processes run the batch",
                hint="give it to `batchchat worker` or `batchchat serve`; unset"
                " BATCHCHAT_URL and BATCHCHAT_BROKER to run the batch in this process",
            )

    def settings(self, settings: Settings) -> Settings:
        """Return the settings with those that are overridden."""
        chosen = {"engines": self.engines, "gpus": self.gpus}
        update = {name: it for name, it in chosen.items() if it is not None}
        return settings.model_copy(update=update)


def engine_options(
    arguments: list[str] | None, engines: str | None = None, gpus: str | None = None
) -> EngineOptions:
    """Return the options as they were typed; `arguments` are `NAME=VALUE`.

    Raises:
        UsageError: an option has another form.
        ConfigError: vLLM has no such argument, or its value has another type.

    """
    from batchchat.workers.engine.engine_options import parse_options
    from batchchat.workers.engine.engine_slots import check_count

    if engines is not None:
        check_count(engines)
    parsed = parse_options(arguments or [])
    return EngineOptions(arguments=parsed, engines=engines, gpus=gpus)
