"""Keeps what users write from being taken for what only a template may say.

A model's special tokens are spelled as text in its template, and the prompt is
tokenized as a whole: `</s>` in somebody's message would end a turn. So where a
message spells one, the prompt is rendered with a mark inside it, cut at the
template's own special tokens, and the pieces are tokenized as plain text. The
prompt's text is the same; its tokens are those of the letters.

Some formats tell turns apart by plain text (`[INST]`). No tokenizer can tell the
template's from a user's, so such a message is refused, as Meta's own code does.

Why, and how to allow both: `docs/decisions/0012-special-tokens.md`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from msgspec import UNSET
from tokenizers import Tokenizer

from batchchat.jobs.errors import RequestRefusedError
from batchchat.jobs.prompts.chat_template import message_for_template, tool_for_template
from batchchat.jobs.requests.schema import Request

_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Code points that Unicode keeps free of characters for good."""

Encode = Callable[[str], list[int]]
Render = Callable[[Callable[[str], str]], str]
"""Returns a prompt, with something done to each text of the request."""


class SpecialTokenGuard:
    """The special tokens and the markers of one model."""

    def __init__(
        self,
        special: Iterable[str],
        markers: Iterable[str] = (),
        tokenizer: Tokenizer | None = None,
    ) -> None:
        """`special` are tokens, `markers` plain text that only a template may say.

        Where there is no `tokenizer`, what spells a special token is refused.
        """
        self._special = _SubstringFinder(special)
        self._markers = _SubstringFinder(markers)
        self._tokenizer = tokenizer

    def check(self, request: Request) -> None:
        """Refuse a request that spells a marker. Raises `RequestRefusedError`."""
        if not self._markers.any:
            return
        for param, text, is_users in _texts(request):
            if is_users and (found := self._markers.search(text)):
                raise _refusal(
                    f"it spells `{found[0]}`, by which the model's format tells turns"
                    " apart",
                    param,
                )

    def contains_special_token(self, request: Request) -> bool:
        """Say whether the request spells a special token.

        Raises:
            RequestRefusedError: it does, and that can't be tokenized as text.

        """
        for param, text, _ in _texts(request):
            found = self._special.search(text)
            if found and self._tokenizer is None:
                raise _refusal(
                    f"it spells the special token `{found[0]}`, and this model's"
                    " tokenizer can't take it as text",
                    param,
                )
            if found:
                return True
        return False

    def encode(self, render: Render) -> list[int]:
        """Return the tokens of a prompt; only the template's special ones are such."""
        plain = render(str)
        mark = next((mark for mark in _NONCHARACTERS if mark not in plain), None)
        if mark is None:
            message = "it holds every code point that is no character"
            raise _refusal(message, "body.messages")
        marked = render(
            lambda text: self._special.pattern.sub(_insert_mark(mark), text)
        )
        first, later = self._plain_encoders
        ids: list[int] = []
        end = 0
        for token in self._special.pattern.finditer(marked):
            encode = later if end else first
            ids += encode(marked[end : token.start()].replace(mark, ""))
            ids.append(self._ids[token[0]])
            end = token.end()
        return ids + (later if end else first)(marked[end:].replace(mark, ""))

    @cached_property
    def _ids(self) -> dict[str, int]:
        tokens = self._known.get_added_tokens_decoder()
        return {token.content: number for number, token in tokens.items()}

    @cached_property
    def _plain_encoders(self) -> tuple[Encode, Encode]:
        """Return what encodes text without special tokens: a beginning, and the rest.

        Some tokenizers put a blank before the beginning of a text only.
        """
        source = self._known.to_str()
        return _encoder(source), _encoder(json.dumps(_never_first(json.loads(source))))

    @property
    def _known(self) -> Tokenizer:
        if self._tokenizer is None:
            raise TypeError("only a guard with a tokenizer encodes")
        return self._tokenizer


def special_tokens(tokenizer: Tokenizer) -> list[str]:
    """Return the texts that the tokenizer takes for tokens that are no text."""
    added = tokenizer.get_added_tokens_decoder().values()
    return [token.content for token in added if token.special]


def _refusal(message: str, param: str) -> RequestRefusedError:
    return RequestRefusedError(message, code="invalid_messages", param=param)


def _texts(request: Request) -> Iterable[tuple[str, str, bool]]:
    """Yield the texts of a request: the field, the text, whether a user wrote it.

    They are those that the template is given, not those of the line: the arguments
    of a call are JSON in a text, and may spell with escapes.
    """
    for index, message in enumerate(request.body.messages):
        at = f"body.messages[{index}]"
        if (
            message.is_text_only
            and message.name is UNSET
            and message.tool_call_id is UNSET
        ):
            yield f"{at}.content", message.text(), True  # as below, sooner
            continue
        # An answer of this request has `generate` false, which no user may say.
        is_users = message.generate is not False
        for name, value in message_for_template(message).items():
            if name != "role":
                where = f"{at}.content" if name == "content" else at
                yield from ((where, text, is_users) for text in _within(value))
    for tool in request.parameter("tools") or ():
        yield from (
            ("body.tools", text, True) for text in _within(tool_for_template(tool))
        )


def _within(value: Any) -> Iterator[str]:
    """Yield every text in a value, keys too."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += [*value.values(), *value]
        elif isinstance(value, list):
            left += value


class _SubstringFinder:
    """Some texts, to be found in others: the longest of those that begin alike."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = sorted({text for text in texts if len(text) > 1}, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, found)) if found else r"(?!)")
        self.any = bool(found)
        self._first_chars = {text[0] for text in found}

    def search(self, text: str) -> re.Match[str] | None:
        """Find the first; most texts have not even a beginning, which is quick."""
        for beginning in self._first_chars:
            if beginning in text:
                return self.pattern.search(text)
        return None


def _insert_mark(mark: str) -> Callable[[re.Match[str]], str]:
    return lambda found: f"{found[0][0]}{mark}{found[0][1:]}"


def _encoder(source: str) -> Encode:
    tokenizer = Tokenizer.from_str(source)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def _never_first(value: Any) -> Any:
    """Return a tokenizer's JSON for text that is not the beginning of a text."""
    if isinstance(value, list):
        return [_never_first(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {name: _never_first(item) for name, item in value.items()}
    if value.get("prepend_scheme") == "first":
        value["prepend_scheme"] = "never"
    return value
