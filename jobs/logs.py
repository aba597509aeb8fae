"""Logging: one line per record, as text or as JSON.

Logs never contain prompts or answers. Ids go into the `fields` of a record.
"""

import json
import logging
from typing import Any, TextIO

from typing_extensions import override

from batchchat.jobs.printable import printable

_NOISY_LOGGERS = (
    "boto3",
    "botocore",
    "celery",
    "httpcore",
    "httpx",
    "kombu",
    "urllib3",
    "uvicorn.error",
)


def start_logging(stream: TextIO, *, as_json: bool, engine: int | None = None) -> None:
    """Log to `stream`: JSON, or plain lines for a terminal.

    Each line has the number of the `engine` if several processes share the stream.
    """
    handler = logging.StreamHandler(stream)
    own = "" if engine is None else f"engine {engine}  "
    plain = _PlainLines(f"%(asctime)s  {own}%(message)s", "%H:%M:%S")
    handler.setFormatter(_JsonLines(engine) if as_json else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs tracebacks of cut connections, which are handled.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


class _PlainLines(logging.Formatter):
    """Formats each record as a line, and a traceback below it, indented."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    @override
    def formatException(self, ei: Any) -> str:
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"  {printable(line)}" for line in lines)


class _JsonLines(logging.Formatter):
    """Formats each record as a line with a JSON object."""

    def __init__(self, engine: int | None) -> None:
        """Add the number of the engine, if there is one."""
        super().__init__()
        self._own = {} if engine is None else {"engine": engine}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._own,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def event_fields(event: str, **fields: object) -> dict[str, dict[str, object]]:
    """Return the `extra` of a log record: the name of the event, and related ids."""
    return {"fields": {"event": event, **fields}}
