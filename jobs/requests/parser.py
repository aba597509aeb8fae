"""Parses a line into a valid request, or into its problems."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from batchchat.jobs.requests.canonical_form import make_canonical
from batchchat.jobs.requests.cross_field_checks import cross_field_problems
from batchchat.jobs.requests.diagnostics import Diagnosis, diagnose, first_custom_id
from batchchat.jobs.requests.fast_path import TextOnlyLine
from batchchat.jobs.requests.ignored_fields import without_ignored_fields
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
    """A line without a valid request, and all its problems.

    `custom_id` is None if the line has no readable one. The problems of the line's form
    come first.
    """

    line: int
    custom_id: str | None
    problems: list[Problem]


ParsedLine = Request | InvalidLine

NO_MODEL = "required, as the batch has no `model` of its own"
_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Parser:
    """Parses the lines of one batch.

    All lines must name the same `model`; with `model_optional` a line may name none.
    If `model` is None, every line must name one, and the first line without a problem
    of its form sets it.
    `names` returns all names of a model, of which lines may use any. `time` is the
    `time` of the requests.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        model_optional: bool = True,
        names: Callable[[str], Collection[str]] = lambda name: (name,),
        time: int | None = None,
    ) -> None:
        """Parse lines for `model`."""
        self.model = model
        self._all_names = names
        self._time = time
        self._names = {*names(model)} if model is not None else set()
        self._model_optional = model_optional and model is not None
        self._fast_decoder = msgspec.json.Decoder(TextOnlyLine)
        self._line_decoder = msgspec.json.Decoder(Line)
        self._body_decoder = msgspec.json.Decoder(BodyLine)
        self._encoder = msgspec.json.Encoder()
        self._reencoded = bytearray()

    def parse_fast(self, raws: list[bytes], text: bytes) -> list[TextOnlyLine] | None:
        """Return the lines if all are valid and text-only, None if `parse` must decide.

        `text` is the block of the file that holds the lines. This takes a third of the
        time that `parse` takes for the same lines.
        """
        try:
            lines = list(map(self._fast_decoder.decode, raws))
        except _DECODE_ERRORS:
            return None
        models = {line.body.model for line in lines} - self._names
        if models and not (self._model_optional and models == {msgspec.UNSET}):
            return None
        return None if self._may_have_duplicate_keys(text, lines) else lines

    def parse(self, raw: bytes, line: int) -> ParsedLine:
        """Return the request on a line, or its problems; never raises."""
        try:
            decoded = self._decode(raw)
        except _DECODE_ERRORS as error:
            request = self._parse_without_ignored_fields(raw, line)
            if request is None:
                return self._invalid(diagnose(raw, line), line, error)
        else:
            if self._may_have_duplicate_keys(raw, decoded):
                diagnosis = diagnose(raw, line)
                if diagnosis.problems:
                    return self._invalid(diagnosis, line, None)
            request = self._request(decoded, raw, line)
        if self._model_optional and _is_text_only(request.body, self._names):
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

    def _parse_without_ignored_fields(self, raw: bytes, line: int) -> Request | None:
        """Return the request, None if the line is invalid even without such fields."""
        rest = without_ignored_fields(raw)
        if rest is None:
            return None
        try:
            decoded = self._decode(rest.raw)
        except _DECODE_ERRORS:
            return None
        return self._request(decoded, rest.raw, line, rest.removed)

    def _request(
        self, decoded: Any, raw: bytes, line: int, removed: tuple[str, ...] = ()
    ) -> Request:
        body = decoded.body if isinstance(decoded, Line) else decoded
        make_canonical(body, raw)
        custom_id = decoded.custom_id
        if custom_id is msgspec.UNSET:
            custom_id = default_custom_id(line)
        return Request(line, custom_id, body, self._time, removed)

    def _may_have_duplicate_keys(self, raw: bytes, decoded: Any) -> bool:
        """Return whether an object in the lines may have a key more than once.

        A JSON reader silently keeps the last of several equal keys. The decoded value,
        encoded again, has one colon for each key plus the colons in texts: if `raw` has
        more, a key was dropped. Escaped colons can't be counted, so they count as a
        possible duplicate.
        """
        if b"\\" in raw and b"\\u003" in raw:
            return True
        self._encoder.encode_into(decoded, self._reencoded)
        return _colons(raw) != _colons(self._reencoded)

    def _problems(self, request: Request) -> list[Problem]:
        """Return the problems with the model and between fields."""
        param = "model" if isinstance(request.body, BodyLine) else "body.model"
        model = self._check_model(request.parameter("model"), request.line, param)
        return model + [
            Problem(code, request.line, message, at, in_body=True)
            for code, message, at in cross_field_problems(request)
        ]

    def _check_model(self, model: str | None, line: int, param: str) -> list[Problem]:
        """Return the problem with the model that a well-formed line names, if any.

        A different model is a problem of the form, in `param`: a batch has one model.
        """
        if model is None:
            if self._model_optional:
                return []
            code, message = "missing_required_parameter", NO_MODEL
            return [Problem(code, line, message, "model", in_body=True)]
        if self.model is None:
            self.model = model
            self._names = {*self._all_names(model)}
        if model in self._names:
            return []
        message = f"all lines of a batch must have the same model, `{self.model}`"
        return [Problem("mismatched_model", line, message, param)]

    def _invalid(
        self, found: Diagnosis, line: int, error: Exception | None
    ) -> InvalidLine:
        problems = found.problems
        if not problems:  # the decoder is stricter than the diagnosis
            message = str(error)[:200]
            problems = [Problem("invalid_request", line, message, in_body=True)]
        if problems[0].in_body and all(one.param != "model" for one in problems):
            param = "model" if found.is_bare else "body.model"
            model = self._check_model(found.model, line, param)
            problems = sorted(problems + model, key=lambda one: one.in_body)
        return InvalidLine(line, found.custom_id, problems)


def _colons(text: bytes | bytearray) -> int:
    """Return `text.count(b":")`, in half the time."""
    return len(text) - len(text.replace(b":", b""))


def _is_text_only(body: Any, names: Collection[str]) -> bool:
    """Return whether no two fields can contradict each other, as in most lines."""
    unset = msgspec.UNSET
    return (
        (body.model is unset or body.model in names)
        and body.n is unset
        and body.top_logprobs is unset
        and body.min_tokens is unset
        and body.tools is unset
        and body.tool_choice is unset
        and body.response_format is unset
        and body.structured_outputs is unset
        and all_text_only(body.messages)
    )


def parse_line(parser: Parser, line: RawLine, max_line_bytes: int) -> ParsedLine:
    """Parse a line that is not blank, in the same way in planner and worker."""
    if line.raw is not None:
        return parser.parse(line.raw, line.number)
    message = f"the line has {line.length:,} bytes; the limit is {max_line_bytes:,}"
    custom_id = first_custom_id(line.head)
    is_known = custom_id is not None
    problem = Problem("line_too_long", line.number, message, in_body=is_known)
    return InvalidLine(line.number, custom_id, [problem])
