"""Numbers and times as people read them."""

from datetime import datetime

_SHORT = 10
"""Seconds below which tenths are of interest."""


def count(number: int, noun: str = "") -> str:
    """Return `1 line`, `1,200 lines`."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return `0.8s`, `42s`, `1m 40s`, `3h 5m`."""
    if seconds < _SHORT:
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
    """Return bytes as `12 bytes`, `3.4 MB`."""
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}"
    return count(number, "byte")


def moment(seconds: int) -> str:
    """Return a Unix time as the local date and time."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
