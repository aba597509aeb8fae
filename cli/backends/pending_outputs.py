"""Where a user wants the results of batches that a server runs.

A server can't write there and need not know, so it is noted on this machine: whoever
stops waiting for a batch and watches it later finds the results where they were wanted.
"""

import time
from contextlib import suppress
from pathlib import Path

import msgspec

from batchchat.cli.backends.batch_view import Delivery
from batchchat.jobs.settings import data_folder

_KEPT = 30 * 86_400
"""Seconds for which a place is remembered."""


class Wanted:
    """The places, by batch."""

    def __init__(self) -> None:
        """Read them as they are asked for."""
        self._folder = data_folder() / "wanted"
        self._known: dict[str, Delivery] = {}

    def note(self, batch_id: str, delivery: Delivery) -> None:
        """Remember a place; without a home, for as long as this process lives."""
        self._known[batch_id] = delivery
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget_old()
            text = msgspec.json.encode([str(delivery.output), delivery.formats])
            (self._folder / f"{batch_id}.json").write_bytes(text)

    def of(self, batch_id: str) -> Delivery | None:
        """Return the place, None where none was named."""
        known = self._known.get(batch_id)
        if known is not None:
            return known
        try:
            text = (self._folder / f"{batch_id}.json").read_bytes()
            output, formats = msgspec.json.decode(text, type=tuple[str, str])
        except (OSError, msgspec.MsgspecError):
            return None
        return Delivery(Path(output), formats)

    def _forget_old(self) -> None:
        for path in self._folder.iterdir():
            if path.stat().st_mtime < time.time() - _KEPT:
                path.unlink()
