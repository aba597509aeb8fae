"""The bytes that the files of a project take up."""

from batchchat.jobs.ledger.ledger import Ledger


def stored_bytes(ledger: Ledger) -> int:
    """Return the size of the contents of all files, including results.

    Content whose upload is complete counts even if its record is not written yet.
    """
    entries = ledger.storage.list(f"{ledger.keys.files()}/")
    return sum(entry.size for entry in entries if entry.key.endswith("/content"))
