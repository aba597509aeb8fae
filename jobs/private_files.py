"""Files and folders that only their user can read, whatever the umask is.

They hold prompts, answers and digests of keys. Results that a user asks for are written
elsewhere and follow the umask.
"""

import os
from contextlib import suppress
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_OTHERS = 0o077


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents; restrict it if it exists.

    Raises:
        OSError: it cannot be created.

    """
    create_folder(folder)
    restrict(folder)


def create_folder(folder: Path) -> None:
    """Create the missing ones of a folder and its parents as private folders.

    Raises:
        OSError: one cannot be created.

    """
    missing = [it for it in (folder, *folder.parents) if not it.exists()]
    for path in reversed(missing):
        path.mkdir(FOLDER_MODE, exist_ok=True)


def write_private_file(path: Path, data: bytes) -> None:
    """Write a file, restricting it if it exists. Raises `OSError`."""
    with open(path, "wb", opener=_open_private) as file:
        os.fchmod(file.fileno(), FILE_MODE)
        file.write(data)


def restrict(path: Path) -> None:
    """Remove the permissions of other users, if the file or folder is this user's."""
    with suppress(OSError):
        found = path.stat()
        if found.st_uid == os.geteuid() and found.st_mode & _OTHERS:
            path.chmod(found.st_mode & ~_OTHERS & 0o7777)


def is_private(path: Path) -> bool:
    """Return whether no other user can read or write it; True if it does not exist."""
    try:
        return not path.stat().st_mode & _OTHERS
    except OSError:
        return True


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, FILE_MODE)
