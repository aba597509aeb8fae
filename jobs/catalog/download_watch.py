"""Watches how much of a model has been downloaded, by the size of the hub's cache."""

import time
from collections.abc import Callable
from pathlib import Path

_FINISHED_SECONDS = 5.0
"""Time without new bytes after which a download counts as finished."""


class DownloadWatch:
    """Measures the growth of a folder, into which another process may download."""

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Count what is added to `folder` from now on; it need not exist yet."""
        self._folder = folder
        self._clock = clock
        self._size_at_start = self._last_size = self._size()
        self._grew_at = float("-inf")

    @classmethod
    def of_hub_model(cls, source: str) -> "DownloadWatch":
        """Watch the cached files of the hub model `source`."""
        from huggingface_hub.constants import HF_HUB_CACHE

        name = "--".join(["models", *source.split("/")])
        return cls(Path(HF_HUB_CACHE) / name / "blobs")

    def downloaded_bytes(self) -> int | None:
        """Return the new bytes, None while nothing is being downloaded."""
        size = self._size()
        if size > self._last_size:
            self._grew_at = self._clock()
        self._last_size = size
        if self._clock() - self._grew_at > _FINISHED_SECONDS:
            return None
        return size - self._size_at_start

    def _size(self) -> int:
        try:
            return sum(path.stat().st_size for path in self._folder.iterdir())
        except OSError:  # a file was renamed meanwhile, or the folder does not exist
            return getattr(self, "_last_size", 0)
