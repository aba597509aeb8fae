"""JSON responses in which decimals are exact numbers."""

from typing import Any

import msgspec
from starlette.responses import Response

_encoder = msgspec.json.Encoder(decimal_format="number")


class JsonResponse(Response):
    """A response encoded by msgspec, or from bytes that are JSON already."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the encoded content."""
        return content if isinstance(content, bytes) else encode(content)


def encode(value: Any) -> bytes:
    """Return `value` encoded as JSON."""
    return _encoder.encode(value)
