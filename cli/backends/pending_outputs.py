"""Remember where to write the results of batches that a server runs.

The server can't write to this machine, so `--output` is stored here: a later `watch`
writes the results to the path that `submit` was given.
"""

import time
from contextlib import suppress
from pathlib import Path

import msgspec

from batchchat.cli.backends.batch_view import LocalOutput
from batchchat.jobs.private_files import make_private_folder, write_private_file
from batchchat.jobs.settings import data_folder

_KEEP_SECONDS = 30 * 86_400


class PendingOutputs:
    """The outputs by batch id, one small file each, kept for 30 days."""

    def __init__(self) -> None:
        """Use the user's data folder; files are read when they are needed."""
        self._folder = data_folder() / "pending-outputs"
        self._saved: dict[str, LocalOutput] = {}

    def save(self, batch_id: str, output: LocalOutput) -> None:
        """Store an output; in memory only if the data folder is not writable."""
        self._saved[batch_id] = output
        with suppress(OSError):
            make_private_folder(self._folder)
            self._delete_old()
            text = msgspec.json.encode([str(output.path), output.formats])
            write_private_file(self._folder / f"{batch_id}.json", text)

    def get(self, batch_id: str) -> LocalOutput | None:
        """Return the output of a batch, None if there is none."""
        saved = self._saved.get(batch_id)
        if saved is not None:
            return saved
        try:
            text = (self._folder / f"{batch_id}.json").read_bytes()
            path, formats = msgspec.json.decode(text, type=tuple[str, str])
        except (OSError, msgspec.MsgspecError):
            return None
        return LocalOutput(Path(path), formats)

    def _delete_old(self) -> None:
        for path in self._folder.iterdir():
            if path.stat().st_mtime < time.time() - _KEEP_SECONDS:
                path.unlink()
