"""Token counts and their cost, in exact decimals."""

from decimal import Decimal

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Token counts of a request, a shard or a batch."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Add field by field."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
        )


class Price(msgspec.Struct, frozen=True):
    """The price of a million tokens in US dollars, with its date and source."""

    input: Decimal
    output: Decimal
    date: str
    source: str = ""

    def __post_init__(self) -> None:
        """Reject invalid prices; msgspec turns this into a ValidationError."""
        if not all(p.is_finite() and p >= 0 for p in (self.input, self.output)):
            raise ValueError("a price must be a number of at least 0")

    def cost(self, usage: Usage) -> Decimal:
        """Return the exact cost of `usage` in US dollars."""
        millionths = usage.input_tokens * self.input + usage.output_tokens * self.output
        return without_trailing_zeros(millionths.scaleb(-6))


def without_trailing_zeros(cost: Decimal) -> Decimal:
    """Return the same number without trailing zeros or an exponent."""
    digits = cost.normalize()
    return digits.quantize(Decimal(1)) if digits == digits.to_integral() else digits
