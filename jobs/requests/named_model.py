"""Finds the model that an input file names, without checking the file."""

from collections.abc import Iterable, Iterator

import msgspec

from batchchat.jobs.errors import UsageError
from batchchat.jobs.requests.line_reader import BOM


class _Body(msgspec.Struct):
    model: str | None = None


class _Line(msgspec.Struct):
    body: _Body | None = None
    model: str | None = None
    messages: msgspec.Raw = msgspec.Raw()

    @property
    def is_request(self) -> bool:
        return self.body is not None or bool(bytes(self.messages))

    @property
    def named_model(self) -> str | None:
        return self.body.model if self.body else self.model


_decoder = msgspec.json.Decoder(_Line)


def named_model(beginning: bytes) -> str | None:
    """Return the model of the first line that names one.

    `beginning` is the beginning of a file, whose last line may be incomplete. Return
    None if no complete line of it names a model.
    """
    for line in _decoded(beginning.removeprefix(BOM).split(b"\n")):
        if line.named_model:
            return line.named_model
    return None


class ModelSearch:
    """Looks for the name of a model in a file while it is read.

    A file needs one if it has requests; whether they are valid is not checked.
    """

    def __init__(self, max_line_bytes: int) -> None:
        """Start; a line that is longer than `max_line_bytes` may name a model."""
        self._max_line_bytes = max_line_bytes
        self._rest = b""
        self._has_requests = False
        self.may_have_model = False
        """Whether the rest of the file need not be searched."""

    def require(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks of the file, and raise an error at its end if it has none.

        Raises:
            UsageError: the file has requests, and none of them names a model.

        """
        for chunk in chunks:
            if not self.may_have_model:
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                self._search(lines)
                self.may_have_model |= len(self._rest) > self._max_line_bytes
            yield chunk
        self._search([self._rest])
        if self._has_requests and not self.may_have_model:
            raise UsageError(
                "no request names a model",
                hint="name one for all of them with `--model NAME`",
            )

    def _search(self, lines: Iterable[bytes]) -> None:
        for line in _decoded(lines):
            self._has_requests |= line.is_request
            self.may_have_model |= bool(line.named_model)


def _decoded(lines: Iterable[bytes]) -> Iterator[_Line]:
    """Yield the lines that are objects with fields of the expected types."""
    for line in lines:
        try:
            yield _decoder.decode(line.removeprefix(BOM))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
