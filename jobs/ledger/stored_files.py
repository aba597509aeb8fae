"""Files of the storage: their bytes, then the object that makes them visible."""

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
) -> File:
    """Write the bytes of a file into the storage, then say that it is there.

    With a `file_id` that exists the same bytes are written over it.
    """
    file_id = file_id or new_file_id()
    size = 0
    with ledger.storage.writer(ledger.keys.content(file_id)) as content:
        for chunk in chunks:
            content.write(chunk)
            size += len(chunk)
    file = File(
        id=file_id,
        bytes=size,
        created_at=ledger.now(),
        filename=filename,
        purpose=purpose,
    )
    publish_file(ledger, file)
    return file


def publish_file(ledger: Ledger, file: File) -> None:
    """Make a file visible whose content is there; harmless when it is already."""
    ledger.storage.create(ledger.keys.file(file.id), records.encode(file))
