"""A random sample of rows, the same one each time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from typing_extensions import override

from batchchat.jobs.rows.row_reader import RowReader

if TYPE_CHECKING:
    import pyarrow as pa

_PRUNED_ROWS = 65_536
"""Additional hashes that are kept between two prunings."""

_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_STEP = 0x9E3779B97F4A7C15
_LAST_SHIFT = 31


class SampledRows(RowReader):
    """The rows with the smallest hashes of their positions, in their order.

    A row that is added at the end takes the place of one other row at most.
    """

    def __init__(self, reader: RowReader, size: int) -> None:
        """Choose `size` rows, or all if there are fewer."""
        self._reader = reader
        self._size = size
        self._largest: pa.Scalar | None = None

    @property
    @override
    def schema(self) -> "pa.Schema":
        return self._reader.schema

    @override
    def batches(self) -> Iterator["pa.RecordBatch"]:
        import pyarrow.compute as pc

        if self._largest is None:
            self._largest = self._largest_chosen()
        for batch, hashes in self._hashed():
            yield batch.filter(pc.less_equal(hashes, self._largest))

    def _largest_chosen(self) -> "pa.Scalar":
        """Return the largest hash of a chosen row."""
        import pyarrow as pa

        kept = pa.array([], pa.uint64())
        for _, hashes in self._hashed():
            kept = pa.concat_arrays([kept, hashes])
            if len(kept) > self._size + _PRUNED_ROWS:
                kept = _smallest(kept, self._size)
        smallest = _smallest(kept, self._size)
        return smallest[-1] if len(smallest) else pa.scalar(0, pa.uint64())

    def _hashed(self) -> Iterator[tuple["pa.RecordBatch", "pa.Array"]]:
        at = 0
        for batch in self._reader.batches():
            yield batch, _hashes(at, batch.num_rows)
            at += batch.num_rows


def _smallest(hashes: "pa.Array", size: int) -> "pa.Array":
    """Return the smallest hashes, sorted."""
    import pyarrow.compute as pc

    return hashes.take(pc.array_sort_indices(hashes)[:size])


def _hashes(start: int, count: int) -> "pa.Array":
    """Return a different number for each of the next positions (SplitMix64)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    positions = pa.array(range(start + 1, start + count + 1), pa.uint64())
    mixed = pc.multiply(positions, pa.scalar(_STEP, pa.uint64()))
    for shift, factor in _ROUNDS:
        mixed = pc.multiply(_folded(mixed, shift), pa.scalar(factor, pa.uint64()))
    return _folded(mixed, _LAST_SHIFT)


def _folded(numbers: "pa.Array", shift: int) -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    high = pc.shift_right(numbers, pa.scalar(shift, pa.uint64()))
    return pc.bit_wise_xor(numbers, high)
