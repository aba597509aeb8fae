"""Stores files: first the content, then the record that makes them visible."""

from collections.abc import Iterable

from batchchat.jobs.ids import new_file_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import File


def store_file(
    ledger: Ledger,
    chunks: Iterable[bytes],
    filename: str,
    purpose: str = "batch",
    *,
    file_id: str | None = None,
    expires_at: int | None = None,
) -> File:
    """Store the content of a file, then its record.

    If `file_id` exists already, its content is replaced; it must be the same.
    """
    file_id = file_id or new_file_id()
    size = lines = 0
    last = b"\n"
    with ledger.storage.writer(ledger.keys.content(file_id)) as content:
        for chunk in chunks:
            content.write(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
            last = chunk[-1:] or last
    file = File(
        id=file_id,
        bytes=size,
        created_at=ledger.now(),
        filename=filename,
        purpose=purpose,
        expires_at=expires_at,
        lines=lines + (last != b"\n"),
    )
    publish_file(ledger, file)
    return file


def publish_file(ledger: Ledger, file: File) -> None:
    """Make a file with stored content visible; repeating it is harmless."""
    ledger.storage.create(ledger.keys.file(file.id), records.encode(file))
