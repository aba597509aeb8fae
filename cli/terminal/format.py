"""Format numbers and times for people."""

from datetime import datetime
from decimal import Decimal

_TENTHS_BELOW_SECONDS = 10
"""Durations below this show tenths of a second."""

_LEAST_SHOWN_DOLLARS = Decimal("0.0001")


def count(number: int, noun: str = "") -> str:
    """Return a number with its noun: `1 line`, `1,200 lines`, `3 batches`."""
    if not noun:
        return f"{number:,}"
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def duration(seconds: float) -> str:
    """Return `0.8s`, `42s`, `1m 40s`, `3h 5m`."""
    if seconds < _TENTHS_BELOW_SECONDS:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s"


def short(number: float) -> str:
    """Return `950`, `12.3k`, `4.5M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            scale = 1e3 if unit == "k" else limit
            return f"{number / scale:.1f}{unit}"
    return f"{number:,.0f}"


def size(number: int) -> str:
    """Return a number of bytes: `12 bytes`, `3.4 MB`."""
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return count(number, "byte")


def age(seconds: float) -> str:
    """Return a duration in whole units of the largest kind: `42s`, `5h`, `3d`."""
    for size_of_unit, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size_of_unit:
            return f"{int(seconds // size_of_unit)}{unit}"
    return f"{max(0, int(seconds))}s"


def dollars(amount: Decimal | None) -> str:
    """Return an amount with cents, or two digits if it is less: `$12.50`, `$0.0024`.

    `-` stands for an unknown amount.
    """
    if amount is None:
        return "-"
    if 0 < amount < _LEAST_SHOWN_DOLLARS:
        return f"<${_LEAST_SHOWN_DOLLARS}"
    if amount >= 1 or not amount:
        return f"${amount:,.2f}"
    return f"${amount.quantize(Decimal(1).scaleb(amount.adjusted() - 1)):f}"


def local_time(seconds: int) -> str:
    """Return a Unix time as local date and time: `2026-01-31 14:05`."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
