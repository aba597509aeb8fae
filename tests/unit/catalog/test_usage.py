"""Tokens and costs add up exactly."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchchat.jobs.catalog.usage import Price, Usage, without_trailing_zeros
from batchchat.jobs.ledger import records
from tests.support.batch_records import OUTCOME

usages = st.builds(Usage, *[st.integers(0, 10**12)] * 3)
prices = st.decimals(0, 1000, places=6)


def price(first, second):
    return Price(Decimal(first), Decimal(second), "2026-11-01")


def test_the_provider_s_example_has_the_published_cost():
    cost = price("0.59", "0.79").cost(Usage(149, 0, 338))
    assert str(cost) == "0.00035493"


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        *[("0.000001", "0.000001"), ("1.500", "1.5"), ("100", "100"), ("1E+3", "1000")],
        *[("0", "0"), ("0.00", "0"), ("0E-9", "0"), ("0E+4", "0")],
    ],
)
def test_costs_have_no_trailing_zeros_and_no_exponent(cost, text):
    outcome = msgspec.structs.replace(
        OUTCOME, estimated_cost=without_trailing_zeros(Decimal(cost))
    )
    assert b'"estimated_cost":%b,' % text.encode() in records.encode(outcome)


@given(prices, prices, usages)
def test_a_cost_is_exact(first, second, usage):
    millionths = int(first * 10**6) * usage.input_tokens
    millionths += int(second * 10**6) * usage.output_tokens
    assert price(first, second).cost(usage).scaleb(12) == millionths


@given(prices, prices, st.lists(usages, max_size=5))
def test_costs_of_parts_add_up_to_the_cost_of_the_whole(first, second, parts):
    per_token = price(first, second)
    whole = per_token.cost(sum(parts, Usage()))
    assert sum(map(per_token.cost, parts), Decimal(0)) == whole


@given(usages, usages)
def test_usage_is_added_field_by_field(one, other):
    total = one + other
    assert total.input_tokens == one.input_tokens + other.input_tokens
    assert total.cached_tokens == one.cached_tokens + other.cached_tokens
    assert total.output_tokens == one.output_tokens + other.output_tokens


@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "-0.01", "sNaN"])
def test_an_invalid_price_is_rejected(wrong):
    with pytest.raises(ValueError, match="at least 0"):
        price("1", wrong)
