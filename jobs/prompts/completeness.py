"""Finds messages that a chat template leaves out of the prompt."""

import json
import re
from typing import Any

_THINKING_END = "</think>"
_THINKING = re.compile(r"<think>.*?</think>|\[THINK\].*?\[/THINK\]", re.DOTALL)


def missing_message(turns: list[dict[str, Any]], prompt: str) -> int | None:
    """Return the index of a message whose content is not in the prompt.

    Templates may trim and quote texts, and drop the reasoning of earlier answers.
    """
    end = 0
    squeezed = ""  # takes long for a long prompt, and is rarely needed
    for index, turn in enumerate(turns):
        text = turn["content"].strip()
        begin = prompt.find(text, end)
        if begin >= 0:
            end = begin + len(text)
        elif text not in prompt:
            squeezed = squeezed or _without_spaces(prompt)
            if not _is_changed(turn["role"], text, prompt, squeezed):
                return index
    return None


def _is_changed(role: str, text: str, prompt: str, squeezed: str) -> bool:
    """Return whether the prompt has the text in another form."""
    forms = [text]
    if role == "assistant":
        forms = [text.rpartition(_THINKING_END)[2], _THINKING.sub("", text)]
    return any(
        _without_spaces(form) in squeezed or _quoted(form.strip(), prompt)
        for form in forms
    )


def _without_spaces(text: str) -> str:
    return "".join(text.split())


def _quoted(text: str, prompt: str) -> bool:
    """Return whether the prompt has the text as JSON, or JSON text as a value."""
    if any(json.dumps(text, ensure_ascii=a)[1:-1] in prompt for a in (False, True)):
        return True
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return any(json.dumps(value, ensure_ascii=a) in prompt for a in (False, True))
