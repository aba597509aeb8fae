"""Templates find the same fields as in Jinja's own sandbox, and no others."""

from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from batchchat.jobs.prompts.size_limit import SizeLimit
from batchchat.jobs.prompts.template_environment import TemplateEnvironment

NAMES = [
    *("content", "missing", "items", "get", "update", "pop", "keys"),
    *("__class__", "__init__", "__len__", "_private", "format", "mro"),
]
FORMS = [
    "{{ m.NAME }}",
    "{{ m['NAME'] }}",
    "{{ m.NAME is defined }} {{ m['NAME'] is none }}",
    "{{ m.NAME.NAME }}",
    "{{ m['NAME']['NAME'] }}",
    "{{ m.NAME() }}",
    "{{ m['NAME']({'content': 1}) }}",
    "{{ m.get('NAME') }}",
    "{{ m | attr('NAME') }}",
    "{{ m.text.NAME }} {{ m.list.NAME }} {{ m.list['NAME'] }}",
    "{{ [m] | map(attribute='NAME') | list }}",
    "{{ [m] | selectattr('NAME', 'defined') | list | length }}",
    "{{ [m] | selectattr('NAME', 'equalto', 'hi') | list | length }}",
    "{{ m[0] }} {{ m[none] }} {{ m[m] }}",
]
MESSAGES: list[dict[Any, Any]] = [
    {"content": "hi", "text": "{0.__class__}", "list": [1]},
    {"content": {"content": "in"}, "text": "", "list": []},
    {"items": "a field", "__class__": "b", "_private": "c", "text": "", "list": []},
    {0: "zero", None: "none", "text": "", "list": []},
]


def outcome(environment: ImmutableSandboxedEnvironment, source: str, m: object) -> str:
    """Return the text that a template gives, or how it fails."""
    try:
        return environment.from_string(source).render(m=m)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_field_lookup_is_the_same_as_in_the_sandbox(form, name):
    source = form.replace("NAME", name)
    ours = TemplateEnvironment(SizeLimit(10_000, 100_000))
    jinjas = ImmutableSandboxedEnvironment()
    for message in MESSAGES:
        found = outcome(ours, source, {**message}), outcome(jinjas, source, {**message})
        assert without_places(found[0]) == without_places(found[1])


def without_places(text: str) -> str:
    """Return a text without the addresses of objects in it."""
    return text.partition(" at 0x")[0]
