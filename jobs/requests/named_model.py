"""Finds the model that an input file names, without checking the file."""

import msgspec

from batchchat.jobs.requests.line_reader import BOM


class _Body(msgspec.Struct):
    model: str | None = None


class _Line(msgspec.Struct):
    body: _Body | None = None
    model: str | None = None


_decoder = msgspec.json.Decoder(_Line)


def named_model(beginning: bytes) -> str | None:
    """Return the model of the first line that names one.

    `beginning` is the beginning of a file, whose last line may be incomplete. Return
    None if no complete line of it names a model.
    """
    for raw in beginning.removeprefix(BOM).split(b"\n"):
        try:
            line = _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        name = line.body.model if line.body else line.model
        if name:
            return name
    return None
