"""Treats special tokens in messages as plain text.

A template writes special tokens as text, and the prompt is tokenized as a whole, so
`</s>` in a message would end a turn. If a message contains such a text, a mark is
inserted into it before rendering. The prompt is then split at the special tokens
without a mark, which are the template's own, and the pieces between them are tokenized
as plain text. The text of the prompt stays the same.

Some formats separate turns by plain text (`[INST]`). No tokenizer can distinguish the
template's from a user's, so such messages are rejected, as in Meta's own code.

Reasons, and how to allow both: `docs/decisions/0012-special-tokens.md`.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from typing import Any

from msgspec import UNSET
from tokenizers import AddedToken, Tokenizer

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.chat_template import message_for_template, tool_for_template
from batchchat.jobs.requests.schema import Request

_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Code points that Unicode permanently reserves as noncharacters."""

_WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
    "\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's whitespace, which some special tokens remove before or after them."""

Encode = Callable[[str], list[int]]
Render = Callable[[Callable[[str], str]], str]
"""Renders a prompt, applying a function to each text of the request."""


class SpecialTokenGuard:
    """The special tokens and turn markers of one model."""

    def __init__(
        self,
        special: Iterable[str],
        markers: Iterable[str] = (),
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """`special` are special tokens, `markers` plain texts that separate turns.

        Without a `tokenizer`, requests that contain a special token are rejected.
        """
        self._special = _SubstringFinder(special)
        self._markers = _SubstringFinder(markers)
        self._tokenizer = tokenizer

    def check(self, request: Request) -> None:
        """Reject a request that contains a marker. Raises `RequestRefusedError`."""
        if not self._markers.any:
            return
        for param, text, is_users in _texts(request):
            if is_users and (found := self._markers.search(text)):
                raise _refusal(
                    f"the text contains `{found[0]}`, which separates turns in the"
                    " model's format",
                    param,
                )

    def contains_special_token(self, request: Request) -> bool:
        """Return whether the request contains a special token.

        Raises:
            RequestRefusedError: it does, and there is no tokenizer to treat it as text.

        """
        for param, text, _ in _texts(request):
            found = self._special.search(text)
            if found and self._tokenizer is None:
                raise _refusal(
                    f"the text contains the special token `{found[0]}`, which this"
                    " model's tokenizer can't treat as text",
                    param,
                )
            if found:
                return True
        return False

    def encode(self, render: Render) -> list[int]:
        """Tokenize a prompt; only the template's own special tokens remain special."""
        plain = render(str)
        mark = next((mark for mark in _NONCHARACTERS if mark not in plain), None)
        if mark is None:
            message = "the request contains every noncharacter of Unicode"
            raise _refusal(message, "messages")
        marked = render(
            lambda text: self._special.pattern.sub(_insert_mark(mark), text)
        )
        first, later = self._plain_encoders
        ids: list[int] = []
        end = 0
        for found in self._special.pattern.finditer(marked):
            number, token = self._added[found[0]]
            text = marked[end : max(end, found.start())]
            encode = later if ids else first
            ids += encode(
                (text.rstrip(_WHITESPACE) if token.lstrip else text).replace(mark, "")
            )
            ids.append(number)
            end = found.end()
            if token.rstrip:
                end = len(marked) - len(marked[end:].lstrip(_WHITESPACE))
        return ids + (later if ids else first)(marked[end:].replace(mark, ""))

    @cached_property
    def _added(self) -> dict[str, tuple[int, AddedToken]]:
        tokens = self._known.get_added_tokens_decoder()
        return {token.content: (number, token) for number, token in tokens.items()}

    @cached_property
    def _plain_encoders(self) -> tuple[Encode, Encode]:
        """Return the encoders of plain text: for the start of a prompt, for the rest.

        They differ because some tokenizers insert a space only at the start of a text.
        """
        value = json.loads(self._known.to_str())
        for token in value["added_tokens"]:
            token["special"] |= (
                self._special.pattern.fullmatch(token["content"]) is not None
            )
        return _encoder(value), _encoder(_without_initial_space(value))

    @property
    def _known(self) -> Tokenizer:
        if self._tokenizer is None:
            raise TypeError("only a guard with a tokenizer encodes")
        return self._tokenizer


def special_tokens(tokenizer: Tokenizer, named: Collection[str] = ()) -> list[str]:
    """Return the special tokens of a tokenizer, and the added ones that are `named`."""
    added = tokenizer.get_added_tokens_decoder().values()
    return [one.content for one in added if one.special or one.content in named]


def _refusal(message: str, param: str) -> RequestRefusedError:
    return RequestRefusedError(message, code="invalid_value", param=param)


def _texts(request: Request) -> Iterable[tuple[str, str, bool]]:
    """Yield the texts of a request: the field, the text, whether a user wrote it.

    They are the texts that the template receives, not those of the line: the arguments
    of a tool call are JSON in a string, which may contain escapes.
    """
    for index, message in enumerate(request.body.messages):
        at = f"messages[{index}]"
        if (
            message.is_text_only
            and message.name is UNSET
            and message.tool_call_id is UNSET
        ):
            yield (
                f"{at}.content",
                message.text(),
                True,
            )  # a shortcut for the general case below
            continue
        # Answers of this request have `generate` false, which users can't set.
        is_users = message.generate is not False
        for name, value in message_for_template(message).items():
            if name != "role":
                where = f"{at}.content" if name == "content" else at
                yield from ((where, text, is_users) for text in _texts_in(value))
    arguments = request.parameter("chat_template_kwargs") or {}
    for name, value in arguments.items():
        if isinstance(value, str):
            yield f"chat_template_kwargs.{name}", value, True
    for tool in request.parameter("tools") or ():
        yield from (
            ("tools", text, True) for text in _texts_in(tool_for_template(tool))
        )


def _texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a value, including keys."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending += [*value.values(), *value]
        elif isinstance(value, list):
            pending += value


class _SubstringFinder:
    """Finds any of several texts; the longest of those with the same start."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = sorted({text for text in texts if len(text) > 1}, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, found)) if found else r"(?!)")
        self.any = bool(found)
        self._first_chars = {text[0] for text in found}

    def search(self, text: str) -> re.Match[str] | None:
        """Return the first match; fast for texts with none of the first characters."""
        for char in self._first_chars:
            if char in text:
                return self.pattern.search(text)
        return None


def _insert_mark(mark: str) -> Callable[[re.Match[str]], str]:
    return lambda found: f"{found[0][0]}{mark}{found[0][1:]}"


def _encoder(value: Any) -> Encode:
    """Return the encoder of plain text of a tokenizer, which is JSON."""
    tokenizer = Tokenizer.from_str(json.dumps(value))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def _without_initial_space(value: Any) -> Any:
    """Return the JSON of a tokenizer that does not insert a space at the start."""
    if isinstance(value, list):
        return [_without_initial_space(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: _without_initial_space(item) for name, item in value.items()}
    if value.get("prepend_scheme") == "first":
        value["prepend_scheme"] = "never"
    return value
