"""Downloads continue after the connection was cut, any number of times."""

import pytest
from botocore.exceptions import ClientError, IncompleteReadError

from batchchat.jobs.errors import StorageError
from batchchat.jobs.storage.protocol import CHUNK_BYTES
from batchchat.jobs.storage.s3 import download as s3_download
from batchchat.jobs.storage.s3.download import download, rechunked

DATA = bytes(range(100))


class Body:
    """Hands out what it has, then fails or ends."""

    def __init__(self, data, *, cut):
        self.data = data
        self.cut = cut
        self.closed = False

    def read(self, _size):
        data, self.data = self.data, b""
        if not data and self.cut:
            raise IncompleteReadError(actual_bytes=0, expected_bytes=1)
        return data

    def close(self):
        self.closed = True


class Server:
    """Cuts its n-th answer after `cuts[n]` bytes; its ETags are `etags`."""

    def __init__(self, cuts, etags=()):
        self.cuts = [*cuts, None]
        self.etags = [*etags] or ['"e"'] * 99
        self.bodies = []

    def get_object(self, Key, Range="bytes=0-"):  # noqa: N803 - S3's own names
        assert Key == "k"
        first, _, last = Range.removeprefix("bytes=").partition("-")
        data = DATA[int(first) : int(last or 99) + 1]
        if not data:
            code = {"Error": {"Code": "InvalidRange"}}
            raise ClientError(code, "GetObject")
        cut = self.cuts.pop(0)
        torn = cut is not None and cut < len(data)
        self.bodies.append(Body(data[:cut], cut=torn))
        head = {"HTTPHeaders": {"content-length": str(len(data))}}
        return {
            "Body": self.bodies[-1],
            "ETag": self.etags.pop(0),
            "ResponseMetadata": head,
        }


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(s3_download, "_FIRST_WAIT_SECONDS", 0)


def read(server, offset=0, end=None):
    try:
        return b"".join(download(server, {"Key": "k"}, offset, end))
    finally:
        assert all(body.closed for body in server.bodies)


@pytest.mark.parametrize("cuts", [[], [0], [1, 2, 3], [0, 5] * 20, [0] * 5, [99]])
@pytest.mark.parametrize(("offset", "end"), [(0, None), (7, None), (7, 93), (7, 200)])
def test_cut_downloads_are_continued_to_the_end(cuts, offset, end):
    assert read(Server(cuts), offset, end) == DATA[offset:end]


def test_a_download_gives_up_after_several_empty_connections():
    server = Server([0] * 6)
    with pytest.raises(IncompleteReadError):
        read(server)
    assert len(server.bodies) == 6


def test_bytes_of_a_replaced_object_are_never_returned():
    with pytest.raises(StorageError, match="replaced"):
        read(Server([50], etags=['"e"', '"other"']))


@pytest.mark.parametrize(
    "etags", [['"e', '"e"'], ['"e"', '"', '"e"'], ['"e"', "", '"e"'], ["", '"e"']]
)
def test_a_cut_etag_is_no_sign_of_another_object(etags):
    assert read(Server([50, 0, 0], etags=[*etags, *['"e"'] * 9])) == DATA


@pytest.mark.parametrize("etag", ["", "0a1b", 'W/"0a1b"'])
def test_a_server_may_send_any_etag_or_none(etag):
    assert read(Server([50], etags=[etag] * 9)) == DATA


def test_there_are_no_bytes_after_the_end():
    assert read(Server([]), 100, 200) == b""


def test_a_reader_that_stops_early_closes_its_connection():
    server = Server([])
    pieces = download(server, {"Key": "k"}, 0, None)
    next(pieces)
    pieces.close()
    assert server.bodies[0].closed


@pytest.mark.parametrize(
    "size", [1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
def test_fragments_of_any_size_become_pieces_of_one(size):
    data = bytes(2 * CHUNK_BYTES + 5) if size > 1000 else bytes(CHUNK_BYTES // 1000)
    fragments = (data[at : at + size] for at in range(0, len(data), size))
    pieces = list(rechunked(fragments))
    assert b"".join(pieces) == data
    assert all(len(piece) == CHUNK_BYTES for piece in pieces[:-1])
