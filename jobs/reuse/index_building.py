"""Makes the index of an ended batch from its input and its output file."""

import zlib
from collections.abc import Iterator
from contextlib import closing

from batchchat.jobs.errors import CorruptObjectError, ObjectMissingError
from batchchat.jobs.ids import request_ids
from batchchat.jobs.ledger.deletions import read_deletion
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.ledger.state import State
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.requests.line_reader import iter_lines, split_lines
from batchchat.jobs.reuse.answer_index import AnswerIndex, IndexBuilder, Place
from batchchat.jobs.reuse.digested_lines import digest_function


def store_index(ledger: Ledger, state: State, renderers: RendererRegistry) -> None:
    """Store the index of an ended batch; without completed requests it has none.

    Any process may do it, more than once, and the index is the same each time.

    Raises:
        ObjectMissingError: the input or the output file was deleted.
        ConfigError: the model cannot be used as it is configured.

    """
    batch, plan, final = state.batch, state.plan, state.final
    if plan is None or plan.model is None or not (final and final.output_file_id):
        return
    keys, storage = ledger.keys, ledger.storage
    digest_of = digest_function(batch, plan.model, plan.max_line_bytes, renderers)
    answers = _answers(storage.stream(keys.content(final.output_file_id)))
    head, place = next(answers, _NONE)
    id_of = request_ids(batch.id)
    lines = storage.stream(request_lines_key(keys, batch))
    with closing(IndexBuilder()) as index:
        for line in iter_lines(lines, plan.max_line_bytes):
            if head == _head(id_of(line.number)):
                digest = digest_of(line)
                if digest is not None:
                    index.add(digest, place)
                head, place = next(answers, _NONE)
        index.store(storage, keys.batch(batch.id).answer_index)
    if read_deletion(ledger, batch.id) is not None:  # began meanwhile
        storage.delete(keys.batch(batch.id).answer_index)


def open_index(
    ledger: Ledger, state: State, renderers: RendererRegistry, *, again: bool = False
) -> AnswerIndex:
    """Return the index of an ended batch; store it if it is missing or corrupt.

    With `again` it is stored in any case. Raises the errors of `store_index`.
    """
    key = ledger.keys.batch(state.batch.id).answer_index
    if not again:
        try:
            return AnswerIndex(ledger.storage, key)
        except (CorruptObjectError, ObjectMissingError):
            pass
    store_index(ledger, state, renderers)
    return AnswerIndex(ledger.storage, key)


_NONE = b"", Place(0, 0, 0)
_HEAD_BYTES = len(b'{"id":"batch_req_",') + 32


def _head(result_id: str) -> bytes:
    """Return the beginning of the line of a result."""
    return b'{"id":"%b",' % result_id.encode()


def _answers(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, Place]]:
    """Yield the beginning of each line of an output file, and where the line is."""
    offset = 0
    for line in split_lines(chunks):
        yield line[:_HEAD_BYTES], Place(offset, len(line), zlib.crc32(line))
        offset += len(line) + 1
