"""From the bytes of a line to a checked request, or to what is wrong with it."""

from typing import Any

import msgspec

from batchchat.jobs.requests.cross_field_checks import cross_field_problems
from batchchat.jobs.requests.diagnostics import find_problems
from batchchat.jobs.requests.fast_path import TextOnlyLine
from batchchat.jobs.requests.line_reader import RawLine
from batchchat.jobs.requests.problems import Problem
from batchchat.jobs.requests.schema import (
    BodyLine,
    Line,
    Request,
    all_text_only,
    default_custom_id,
)


class InvalidLine(msgspec.Struct, frozen=True):
    """A line that is no request, with everything that is wrong with it.

    `custom_id` is None where the line has none that can be read.
    """

    line: int
    custom_id: str | None
    problems: list[Problem]


ParsedLine = Request | InvalidLine


class Parser:
    """Reads the lines of one batch.

    `model` is the batch's model: no line may name another, and with `may_omit` a
    line may name none. Where it is None, every line must name one, and the first
    good one decides.
    """

    def __init__(
        self, model: str | None = None, *, model_optional: bool = True
    ) -> None:
        """Read lines for `model`."""
        self.model = model
        self._model_optional = model_optional and model is not None
        self._fast_decoder = msgspec.json.Decoder(TextOnlyLine)
        self._line_decoder = msgspec.json.Decoder(Line)
        self._body_decoder = msgspec.json.Decoder(BodyLine)
        self._encoder = msgspec.json.Encoder()
        self._reencoded = bytearray()

    def parse_fast(self, raws: list[bytes], text: bytes) -> list[TextOnlyLine] | None:
        """Return lines that are right as they stand, None where `parse` must look.

        `text` is the lines as they lie in the file. Many at once are seen at a third
        of the cost at which `parse` would return the requests.
        """
        try:
            lines = list(map(self._fast_decoder.decode, raws))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        models = {line.body.model for line in lines} - {self.model}
        if models and not (self._model_optional and models == {msgspec.UNSET}):
            return None
        return None if self._may_have_duplicate_keys(text, lines) else lines

    def parse(self, raw: bytes, line: int) -> ParsedLine:
        """Return the request on a line, or why it is none; never raises."""
        try:
            decoded = self._decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return _invalid(raw, line, error)
        if self._may_have_duplicate_keys(raw, decoded):
            _, problems = find_problems(raw, line)
            if problems:
                return _invalid(raw, line, None)
        request = _request(decoded, line)
        if self._model_optional and _is_text_only(request.body, self.model):
            return request
        problems = self._problems(request)
        return InvalidLine(line, request.custom_id, problems) if problems else request

    def _decode(self, raw: bytes) -> Any:
        try:
            return self._line_decoder.decode(raw)
        except msgspec.ValidationError:
            try:
                return self._body_decoder.decode(raw)
            except msgspec.ValidationError:
                pass
            raise

    def _may_have_duplicate_keys(self, raw: bytes, decoded: Any) -> bool:
        """Say whether an object of a line, or of some lines, may hold a key twice.

        A JSON reader keeps the last of two and says nothing. What was kept,
        encoded again, has a colon for each key and those of the texts: if the
        lines have more, something was dropped. A colon that is written as an
        escape can't be counted so.
        """
        if b"\\" in raw and b"\\u003" in raw:
            return True
        self._encoder.encode_into(decoded, self._reencoded)
        return _colons(raw) != _colons(self._reencoded)

    def _problems(self, request: Request) -> list[Problem]:
        """Return what is wrong between fields, and with the model."""
        found = [*cross_field_problems(request)]
        model = request.parameter("model")
        if model is None and not self._model_optional:
            message = "required: name the model here or with `--model`"
            found.append(("missing_required_parameter", message, "body.model"))
        elif self.model is None and not found:
            self.model = model
        elif model not in (None, self.model):
            message = f"all lines of a batch have one model, here `{self.model}`"
            found.append(("mismatched_model", message, "body.model"))
        is_bare = isinstance(request.body, BodyLine)
        return [
            Problem(
                code, request.line, text, at.removeprefix("body.") if is_bare else at
            )
            for code, text, at in found
        ]


def _colons(text: bytes | bytearray) -> int:
    """Return `text.count(b":")`, which looks at every byte, in half the time."""
    return len(text) - len(text.replace(b":", b""))


def _request(decoded: Any, line: int) -> Request:
    if isinstance(decoded, Line):
        return Request(line, decoded.custom_id, decoded.body)
    custom_id = decoded.custom_id
    if custom_id is msgspec.UNSET:
        custom_id = default_custom_id(line)
    return Request(line, custom_id, decoded)


def _is_text_only(body: Any, model: str | None) -> bool:
    """Say whether there is nothing in which two fields could disagree.

    So it is with most lines of most files, and those are what takes the time.
    """
    unset = msgspec.UNSET
    return (
        (body.model is unset or body.model == model)
        and body.n is unset
        and body.top_logprobs is unset
        and body.min_tokens is unset
        and body.tools is unset
        and body.tool_choice is unset
        and body.response_format is unset
        and body.structured_outputs is unset
        and all_text_only(body.messages)
    )


def _invalid(raw: bytes, line: int, error: Exception | None) -> InvalidLine:
    custom_id, problems = find_problems(raw, line)
    if not problems:  # the typed decoder knows better than the diagnosis
        problems = [Problem("invalid_request", line, str(error)[:200])]
    return InvalidLine(line, custom_id, problems)


def parse_line(parser: Parser, line: RawLine, max_line_bytes: int) -> ParsedLine:
    """Return what a line that is not blank holds: planner and worker agree."""
    if line.raw is not None:
        return parser.parse(line.raw, line.number)
    message = f"the line has {line.length:,} bytes, and {max_line_bytes:,} are allowed"
    problem = Problem("line_too_long", line.number, message)
    return InvalidLine(line.number, None, [problem])
