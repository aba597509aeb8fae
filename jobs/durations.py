"""Durations such as `90m`, `24h` or `1d12h`."""

import re

DURATION_PATTERN = "^([0-9]{1,7}[dhms]){1,4}$"
_UNIT_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def duration_seconds(text: str) -> int:
    """Return the seconds of a duration such as `90m` or `30d`, 0 if it is not one."""
    if not re.fullmatch(DURATION_PATTERN, text):
        return 0
    parts = re.findall("([0-9]+)([dhms])", text)
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)
