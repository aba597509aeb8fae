"""The query parameters that select batches: `status=…` and `metadata[key]=…`."""

import re
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from batchchat.api.http.errors import ApiError
from batchchat.jobs.ledger.batch_filter import BatchFilter
from batchchat.jobs.ledger.state import STATUSES

_METADATA = re.compile(r"metadata\[([^\[\]]+)\]")

METADATA_PARAMETER: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "description": "Return only batches whose metadata has these values, such as"
    " `metadata[project]=a`.",
    "style": "deepObject",
    "explode": True,
    "schema": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "propertyNames": {"pattern": r"^[^\[\]]+$"},
    },
}
"""The OpenAPI description of `metadata`, which FastAPI has no type for."""

_Statuses = Annotated[
    list[str],
    Query(
        alias="status",
        description="Return only batches with this status; may be repeated.",
        json_schema_extra={"items": {"type": "string", "enum": list(STATUSES)}},
    ),
]


def _read(request: Request, statuses: _Statuses = []) -> BatchFilter:  # noqa: B006 - FastAPI copies it
    for status in statuses:
        if status not in STATUSES:
            known = ", ".join(f"'{one}'" for one in STATUSES)
            raise _invalid("status", f"expected one of {known}")
    metadata = {}
    for name, value in request.query_params.multi_items():
        if name.startswith("metadata"):
            found = _METADATA.fullmatch(name)
            if found is None:
                raise _invalid(name[:80], "expected metadata[key]=value")
            metadata[found[1]] = value
    return BatchFilter(statuses=frozenset(statuses), metadata=metadata)


def _invalid(param: str, reason: str) -> ApiError:
    message = f"Invalid value for '{param}': {reason}."
    return ApiError(400, message, param=param, code="invalid_value")


RequestedFilter = Annotated[BatchFilter, Depends(_read)]
