"""JSON responses in which decimals are exact numbers."""

from typing import Any

from starlette.responses import Response

from batchchat.jobs.json_lines import encode


class JsonResponse(Response):
    """A response encoded by msgspec, or from bytes that are JSON already."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the encoded content."""
        return content if isinstance(content, bytes) else encode(content)
