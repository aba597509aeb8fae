"""What a plan says about the answers of earlier batches that it uses again."""

import msgspec


class MapRange(msgspec.Struct, frozen=True, array_like=True):
    """A range of bytes of the plan's map of earlier answers, and its CRC-32."""

    offset: int
    length: int
    checksum: int


class ReusedBatch(msgspec.Struct, frozen=True):
    """An ended batch whose answers are used again, and its output file."""

    batch_id: str
    output_file_id: str


class Reuse(msgspec.Struct, frozen=True):
    """The earlier answers that a plan uses again.

    `map` is the id of the map that says where they are, in the output files of
    `sources`. `requests` is their number. A request is run all the same if its answer
    came from an engine with another fingerprint, or can't be read any more.
    """

    map: str
    sources: list[ReusedBatch]
    requests: int
