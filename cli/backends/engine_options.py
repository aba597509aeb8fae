"""What the command line chooses for the engines of a run."""

from dataclasses import dataclass, field
from typing import Any

from batchchat.jobs.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The options of one command.

    `arguments` override the engine arguments of the catalog.
    """

    arguments: dict[str, Any] = field(default_factory=dict)

    def refuse(self) -> None:
        """Raise `UsageError` if there are any: the command starts no engine."""
        if self.arguments:
            raise UsageError(
                "`--engine` has no effect here: other processes run the batch",
                hint="give it to `batchchat worker` or `batchchat serve`; unset"
                " BATCHCHAT_URL and BATCHCHAT_BROKER to run the batch in this process",
            )


def engine_options(arguments: list[str] | None) -> EngineOptions:
    """Return the options as they were typed; `arguments` are `NAME=VALUE`.

    Raises:
        UsageError: an option has another form.
        ConfigError: vLLM has no such argument, or its value has another type.

    """
    from batchchat.workers.engine.engine_options import parse_options

    return EngineOptions(arguments=parse_options(arguments or []))
