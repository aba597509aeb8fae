"""Where the request lines of a batch are stored."""

from batchchat.jobs.ledger.keys import Keys
from batchchat.jobs.ledger.records import Batch


def request_lines_key(keys: Keys, batch: Batch) -> str:
    """Return the key of the object that holds the request lines of a batch.

    It is the content of the input file. If that holds rows, it is an object that
    planning derives from them. Shards are ranges of its bytes.
    """
    if batch.rows is not None:
        return keys.batch(batch.id).requests
    return keys.content(batch.input_file_id)
