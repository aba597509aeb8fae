"""The fields of a create request that name batches whose answers are used again."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from batchchat.api.http.errors import to_api_error
from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.errors import UsageError
from batchchat.jobs.files.reused_batches import (
    MAX_REUSED_BATCHES,
    with_reused_batches,
)
from batchchat.jobs.ledger.batch_options import BatchOptions
from batchchat.jobs.ledger.ledger import Ledger

BatchIds = Annotated[list[str], Field(max_length=MAX_REUSED_BATCHES)]


class ReuseFields(BaseModel):
    """Which answers of earlier batches are used again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reuse: Literal["auto", "none"] | BatchIds | None = Field(
        None,
        description="Batches of the project whose answers are used again: the IDs of"
        " ended batches, `auto` (the last ten of the model) or `none`. Requests that"
        " one of them has answered are not run and cost nothing. The batch gets the"
        " seed of the first one, unless it sets `seed`. Null is the server's"
        " BATCHCHAT_REUSE, `none` unless it is set.",
    )
    reuse_across_engines: bool = Field(
        default=False,
        description="Whether to reuse answers of other engine versions, precisions and"
        " chat templates, too.",
    )

    def reuse_names(self, default: str) -> tuple[str, ...]:
        """Return what `reuse` names; `default` is the server's setting."""
        named = default if self.reuse is None else self.reuse
        return (named,) if isinstance(named, str) else tuple(named)


def resolved_reuse(
    ledger: Ledger, options: BatchOptions, batch_id: str, model: Model | None
) -> BatchOptions:
    """Return the options with the batches to reuse. Raises `ApiError`."""
    try:
        return with_reused_batches(
            ledger, options, batch_id, model.name if model else None
        )
    except UsageError as error:
        mapped = to_api_error(error)
        mapped.param = "reuse"
        raise mapped from None
