"""Renders a conversation into a model's prompt, as its chat template says.

The environment is the one that Hugging Face's templates are written for: block
trimming, loop controls, `raise_exception`, `strftime_now`, a plain `tojson`.
It is sandboxed: templates come from models, and may not reach out.
"""

import json
from datetime import datetime
from typing import Any, Never

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jobs.errors import ConfigError, RequestRefusedError
from jobs.request import Message

_FAILURES = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a template may raise over a conversation that it was not written for."""


class ChatTemplate:
    """One compiled template with the special tokens that it may name."""

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        """Compile `source`.

        Raises:
            ConfigError: it is no template.

        """
        try:
            self._template = _environment().from_string(source)
        except TemplateError as error:
            raise ConfigError(f"the chat template can't be read: {error}") from None
        self.source = source
        self._special_tokens = special_tokens
        self._knows_developer = "developer" in source

    def render(self, messages: list[Message]) -> str:
        """Return the prompt, up to where the assistant begins to speak.

        Raises:
            RequestRefusedError: the template does not take this conversation.

        """
        try:
            return self._template.render(
                messages=[self._turn(message) for message in messages],
                add_generation_prompt=True,
                tools=None,
                documents=None,
                **self._special_tokens,
            )
        except _FAILURES as error:
            raise RequestRefusedError(
                f"the model's chat template refuses the conversation: {error}",
                code="invalid_messages",
                param="body.messages",
            ) from None

    def _turn(self, message: Message) -> dict[str, str]:
        role: str = message.role
        if role == "developer" and not self._knows_developer:
            role = "system"
        turn = {"role": role, "content": message.text()}
        for name in ("name", "tool_call_id"):
            if isinstance(value := getattr(message, name), str):
                turn[name] = value
        return turn


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # noqa: DTZ005 - the templates mean local time
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> Never:
    raise TemplateError(message)
