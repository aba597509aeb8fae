"""Compares the clock of this machine with the `Date` header of a response.

S3 rejects requests that were signed more than fifteen minutes ago or ahead. Some
servers answer them as they answer a wrong signature, so that only the header tells.
"""

import time
from email.utils import parsedate_to_datetime

_MAX_SKEW_SECONDS = 300.0


def describe_clock_skew(date: str) -> str | None:
    """Return by how much this clock is wrong; None if it is right or `date` invalid."""
    try:
        skew = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    if abs(skew) < _MAX_SKEW_SECONDS:
        return None
    direction = "ahead of" if skew > 0 else "behind"
    return f"it is {abs(skew) / 60:,.0f} minutes {direction} the clock of the server"
