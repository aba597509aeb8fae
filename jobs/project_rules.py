"""What an operator grants each project: its share, its priority, and its limits."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from batchchat.jobs.durations import duration_seconds

PRIORITIES = ("low", "normal", "high")
"""The priorities of batches, lowest first."""

ALL_PROJECTS = "*"
"""The name whose rules hold for each project, unless the project has its own."""


KEEP = "none"
"""A retention that keeps ended batches for ever."""


def _check_retention(text: str) -> str:
    if text != KEEP and not duration_seconds(text):
        message = f"`{text[:80]}` is not a duration, such as 30d or 12h, or `none`"
        raise ValueError(message)
    return text


Retention = Annotated[str, AfterValidator(_check_retention)]


def retention_seconds(retention: str | None) -> int | None:
    """Return for how many seconds ended batches are kept, None for ever."""
    return None if retention in {None, KEEP} else duration_seconds(f"{retention}")


class ProjectRules(BaseModel):
    """One entry below `[projects]`; a limit that is not set does not exist."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    share: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    """Weight of the project when several wait for a model: a project with a share of 2
    runs twice as many shards at a time as one with a share of 1."""

    max_priority: Literal["low", "normal", "high"] = "high"
    """Highest priority that its batches may have."""

    max_open_batches: Annotated[int, Field(ge=0)] | None = None
    """Maximum number of unfinished batches."""

    max_open_requests: Annotated[int, Field(ge=0)] | None = None
    """Maximum number of requests in unfinished batches."""

    max_stored_bytes: Annotated[int, Field(ge=0)] | None = None
    """Maximum size of all its files in bytes, including results; results are never
    refused, but count for the next upload."""

    max_daily_cost: Annotated[Decimal, Field(ge=0)] | None = None
    """Maximum cost in US dollars of the batches that it creates in a day (UTC). A batch
    counts with its `max_cost` until it ends, and one without gets what is left."""

    retention: Retention | None = None
    """How long its ended batches are kept, in place of `BATCHCHAT_RETENTION`: a
    duration, or `none` for ever."""

    @property
    def limits_batches(self) -> bool:
        """Whether a new batch has to be compared with the project's other batches."""
        limits = (self.max_open_batches, self.max_open_requests, self.max_daily_cost)
        return any(limit is not None for limit in limits)

    def rank(self, priority: str) -> int:
        """Return the rank of a batch with that priority; the lowest is run first."""
        highest = PRIORITIES.index(self.max_priority)
        return len(PRIORITIES) - 1 - min(PRIORITIES.index(priority), highest)


def rules_of(project: str, known: Mapping[str, ProjectRules]) -> ProjectRules:
    """Return the rules of a project, those of `*` where it has none of its own."""
    fields: dict[str, object] = {}
    for name in (ALL_PROJECTS, project):
        if name in known:
            fields |= known[name].model_dump(exclude_unset=True)
    return ProjectRules.model_validate(fields)
