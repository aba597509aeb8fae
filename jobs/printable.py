"""Text that a terminal only displays, whatever it contains.

Ids, names and messages come from files and servers. Control characters in them could
rewrite the screen, set the clipboard or forge lines of a log, and characters that
change the direction of text or are invisible could disguise a name (CWE-150).
"""

import json
import re

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str, keep: str = "") -> str:
    r"""Return `text` with unsafe characters, except for `keep`, as `\x1b`, `\u202e`."""
    return _UNSAFE.sub(lambda it: it[0] if it[0] in keep else _escaped(it[0]), text)


def printable_json(text: str) -> str:
    r"""Return JSON text with unsafe characters as `\u001b`; the value stays the same.

    Line feeds between values are kept.
    """
    return _UNSAFE.sub(lambda it: _json_escaped(it[0]), text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _json_escaped(character: str) -> str:
    if character == "\n":
        return character
    if character in "\r\t":  # white space between values: strings cannot contain them
        return " "
    return json.dumps(character)[1:-1]
