"""Parts of the Batch object, which are objects themselves."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchchat.jobs.requests.problems import BatchError


def one_of(*values: str | None) -> dict[str, Any]:
    """Return an enumeration for the documentation only.

    Clients accept other values, too, since newer servers may add some.
    """
    return {"enum": list(values)}


class BatchErrors(msgspec.Struct, frozen=True, kw_only=True):
    """The first problems of an input file that failed the batch.

    If the batch skips invalid lines, the first problems of these.
    """

    object: Literal["list"] = "list"
    data: list[BatchError]


class BatchUsage(msgspec.Struct, frozen=True):
    """OpenAI's BatchUsage."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class ShardCounts(msgspec.Struct, frozen=True):
    """The parts into which a running batch is divided."""

    total: int
    committed: Annotated[int, Meta(description="Number of parts that are finished.")]


class Delivery(msgspec.Struct, frozen=True):
    """The delivery of the results to `output`, which begins when the batch ends."""

    status: Annotated[
        str, Meta(extra_json_schema=one_of("pending", "completed", "failed"))
    ]
    ended_at: int | None
    files: Annotated[list[str], Meta(description="URLs of the delivered files.")]
    error: Annotated[
        str | None,
        Meta(
            description="Why the delivery failed, or, while it is pending, why the last"
            " attempt failed."
        ),
    ]
