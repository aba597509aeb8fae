"""Number ranges of the parameter table: valid at their ends, invalid a step beyond."""

import math

import pytest

from batchchat.jobs.requests.parameters import PARAMETERS
from tests.support.input_lines import parse_invalid, parse_valid, problems_of, with_body

BOUNDED = {
    name: parameter
    for name, parameter in PARAMETERS.items()
    if parameter.maximum is not None
}
NUMBERS = {
    name: parameter.kind
    for name, parameter in BOUNDED.items()
    if parameter.kind in {"number", "integer"}
}
WHOLE = {"integer", "integers"}
NEEDS = {"top_logprobs": {"logprobs": True}}
"""Fields that a field requires."""


def step(parameter, bound, towards):
    """Return the next number that the field could hold."""
    if parameter.kind in WHOLE:
        return bound + (1 if towards > 0 else -1)
    return math.nextafter(bound, towards)


def inside(parameter):
    if parameter.exclusive_minimum is not None:
        yield step(parameter, parameter.exclusive_minimum, math.inf)
    else:
        yield parameter.minimum
    yield parameter.maximum


def outside(parameter):
    if parameter.exclusive_minimum is not None:
        yield parameter.exclusive_minimum
    else:
        yield step(parameter, parameter.minimum, -math.inf)
    yield step(parameter, parameter.maximum, math.inf)


def raw(name, value):
    """Return a line with the number where the field has its numbers."""
    forms = {"integers": [value], "logit_bias": {"5": value}}
    fields = {name: forms.get(PARAMETERS[name].kind, value)}
    return with_body(**NEEDS.get(name, {}), **fields)


def place(name):
    return {"integers": "[0]", "logit_bias": ".5"}.get(PARAMETERS[name].kind, "")


def range_code(name, value):
    """Return OpenAI's code for a value outside of the range."""
    kind = "integer" if PARAMETERS[name].kind in WHOLE else "decimal"
    highest = PARAMETERS[name].maximum
    side = "above_max" if value > highest else "below_min"
    return f"{kind}_{side}_value"


@pytest.mark.parametrize(
    ("name", "value"), [(n, value) for n, p in BOUNDED.items() for value in inside(p)]
)
def test_the_ends_of_a_range_are_valid(name, value):
    assert problems_of(raw(name, value)) == []


@pytest.mark.parametrize(
    ("name", "value"), [(n, value) for n, p in BOUNDED.items() for value in outside(p)]
)
def test_a_step_beyond_an_end_is_invalid(name, value):
    assert problems_of(raw(name, value)) == [
        (range_code(name, value), f"{name}{place(name)}")
    ]


@pytest.mark.parametrize("value", [10**18, -(10**18), 10**30, 1e300], ids=repr)
@pytest.mark.parametrize("name", sorted(set(NUMBERS) - {"seed"}))
def test_a_number_far_outside_the_range_is_invalid(name, value):
    code = range_code(name, value)
    if NUMBERS[name] == "integer" and isinstance(value, float):
        code = "invalid_type"
    assert problems_of(raw(name, value)) == [(code, f"{name}")]


@pytest.mark.parametrize("value", [True, False, "1", "", [1], {"a": 1}], ids=repr)
@pytest.mark.parametrize("name", BOUNDED)
def test_a_value_of_another_type_is_not_a_number(name, value):
    assert problems_of(raw(name, value)) == [("invalid_type", f"{name}{place(name)}")]


@pytest.mark.parametrize("value", [1.0, 0.5, -0.0, 1e16], ids=repr)
@pytest.mark.parametrize(
    "name", [name for name, p in BOUNDED.items() if p.kind in WHOLE]
)
def test_a_decimal_is_not_an_integer(name, value):
    assert problems_of(raw(name, value)) == [("invalid_type", f"{name}{place(name)}")]


@pytest.mark.parametrize(
    "name", [name for name, p in BOUNDED.items() if p.kind not in WHOLE]
)
def test_an_integer_is_a_valid_number(name):
    assert problems_of(raw(name, 1)) == []


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - {"stream_options"}))
def test_null_means_absent(name):
    request = parse_valid(with_body(**{name: None}))
    assert request.parameter(name) is None
    assert request.parameter("messages")


@pytest.mark.parametrize("name", NUMBERS)
def test_the_error_for_a_number_out_of_range_states_the_range(name):
    (message,) = [p.message for p in parse_invalid(raw(name, 10**30)).problems]
    assert str(PARAMETERS[name].maximum) in message
