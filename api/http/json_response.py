"""Answers as JSON, with decimals as exact numbers."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

_encoder = msgspec.json.Encoder(decimal_format="number")


class JsonResponse(Response):
    """An answer whose content is made by msgspec, or is JSON bytes already."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return content if isinstance(content, bytes) else encode(content)


def encode(value: Any) -> bytes:
    """Return `value` as JSON."""
    return _encoder.encode(value)


def list_object(
    data: Sequence[Any], ids: Sequence[str], *, has_more: bool
) -> JsonResponse:
    """Return OpenAI's list, which says whether there is more."""
    return JsonResponse(
        {
            "object": "list",
            "data": data,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
            "has_more": has_more,
        }
    )
