"""Pages of lists, as OpenAI's clients read them."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query

from batchchat.api.http.json_response import JsonResponse

AfterId = Annotated[
    str | None, Query(description="Return objects that follow the one with this id.")
]
PageSize = Annotated[
    int, Query(ge=1, le=100, description="Maximum number of objects to return.")
]


def list_object(
    data: Sequence[Any], ids: Sequence[str], *, has_more: bool
) -> JsonResponse:
    """Return a page of objects in OpenAI's list format."""
    return JsonResponse(
        {
            "object": "list",
            "data": data,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": has_more,
        }
    )
