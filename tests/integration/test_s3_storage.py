"""What only a bucket, and the way to it, can do wrong."""

import random
import tracemalloc
from contextlib import suppress

import pytest

from batchchat.jobs.errors import ObjectMissingError, StorageError
from batchchat.jobs.storage.s3 import download as s3_download
from batchchat.jobs.storage.s3 import upload as s3_upload
from batchchat.jobs.storage.s3.storage import S3Storage
from batchchat.jobs.storage.s3.upload import PART_BYTES, Upload
from tests.support.servers.s3_server import BUCKET, credentials
from tests.support.servers.tcp_proxy import tcp_proxy

MIB = 1024 * 1024
LARGE = bytes(range(256)) * (9 * MIB // 256) + b"end"


@pytest.fixture(params=["moto", "swift"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def storage(server):
    return server.storage()


@pytest.fixture
def proxy(server):
    with tcp_proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda *_: 0)
    monkeypatch.setattr(s3_download, "_FIRST_WAIT_SECONDS", 0.001)


def write(storage, key, pieces, error=None):
    """Write pieces of 1 MiB, each of its own letter; return the peak of memory."""
    tracemalloc.start()
    try:
        with storage.writer(key) as file:
            for index in range(pieces):
                file.write(bytes([index]) * MIB)
            if error:
                raise error
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def open_uploads(server):
    return server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def test_parts_of_growing_size_join_without_a_gap(server, storage, monkeypatch):
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 * MIB)  # the smallest that S3 takes
    monkeypatch.setattr(s3_upload, "_EQUAL_PARTS", 2)
    monkeypatch.setattr(s3_upload, "_PARTS_PER_STEP", 1)
    sizes = [s3_upload.part_bytes(number) // MIB for number in range(1, 6)]
    assert sizes == [5, 5, 10, 15, 20]
    pattern = random.Random(1).randbytes(37 * MIB + 1)
    with storage.writer("a") as file:
        for at in range(0, len(pattern), 777_777):
            file.write(pattern[at : at + 777_777])
    assert b"".join(storage.stream("a")) == pattern
    for seam in (5, 10, 20, 35):
        at = seam * MIB - 3
        assert storage.read("a", at, 6) == pattern[at : at + 6]
    assert open_uploads(server) == []


def test_a_large_object_is_written_and_read_in_bounded_memory(server, storage):
    assert write(storage, "a", 80) < 60 * MIB
    assert storage.size("a") == 80 * MIB
    assert storage.read("a", PART_BYTES - 1, 2) == b"\x0f\x10"
    tracemalloc.start()
    letters = [piece[0] for piece in storage.stream("a")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert letters == list(range(0, 80, 4))
    assert peak < 20 * MIB
    assert open_uploads(server) == []


@pytest.mark.parametrize(
    "size",
    [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 2 * PART_BYTES + 1],
)
def test_objects_of_sizes_around_a_part_are_whole(storage, size):
    with storage.writer("a") as file:
        file.write(b"x" * size)
    assert storage.size("a") == size


@pytest.mark.parametrize("error", [KeyError(), KeyboardInterrupt()])
def test_an_aborted_writer_leaves_no_object_and_no_upload(server, storage, error):
    with suppress(KeyError, KeyboardInterrupt):
        write(storage, "a", 40, error)
    assert list(storage.list("")) == []
    assert open_uploads(server) == []


def test_an_object_is_replaced_only_when_the_new_one_is_complete(storage):
    storage.put("a", b"old")
    with storage.writer("a") as file:
        file.write(b"x" * (PART_BYTES + 1))
        assert storage.get("a") == b"old"
    assert storage.size("a") == PART_BYTES + 1


@pytest.mark.parametrize("cuts", [[5 * MIB], [1000, MIB, 0, 9, 5 * MIB]], ids=str)
def test_reading_resumes_where_a_connection_was_cut(server, proxy, cuts):
    storage = server.open(proxy.port)
    storage.put("a", LARGE)
    for read in (
        lambda: storage.get("a"),
        lambda: b"".join(storage.stream("a")),
        lambda: storage.read("a", 3, MIB * 8),
    ):
        proxy.close_idle()
        proxy.response_cuts[:] = cuts
        assert read() in (LARGE, LARGE[3:][: MIB * 8])
        assert proxy.response_cuts == []


@pytest.mark.filterwarnings("ignore:tzname")  # of a date that was cut too
def test_a_response_cut_in_its_header_is_never_taken_as_complete(server, proxy):
    storage = server.open(proxy.port)
    content = b"content" * 1000
    storage.put("a", content)
    for cut in range(10, 400, 5):
        proxy.close_idle()
        proxy.response_cuts[:] = [cut]
        assert storage.get("a") == content
    for look in (
        lambda: storage.size("a") == len(content),
        lambda: [entry.key for entry in storage.list("")] == ["a"],
    ):
        for cut in range(10, 450):
            proxy.close_idle()
            proxy.response_cuts[:] = [cut]
            with suppress(StorageError):
                assert look()


def test_reading_without_progress_fails_in_the_end(server, proxy):
    storage = server.open(proxy.port)
    storage.put("a", LARGE)
    proxy.close_idle()
    proxy.response_cuts[:] = [9] * 99
    with pytest.raises(StorageError, match="s3://bucket") as raised:
        storage.get("a")
    assert raised.value.retryable


@pytest.mark.parametrize("other", [LARGE[1:], b"short"], ids=["same", "shorter"])
def test_an_object_replaced_while_it_is_read_is_an_error(server, proxy, other):
    storage = server.open(proxy.port)
    storage.put("a", LARGE)
    proxy.close_idle()
    proxy.response_cuts[:] = [5 * MIB]
    pieces = storage.stream("a")
    read = next(pieces)
    storage.put("a", other)
    with pytest.raises(StorageError, match="replaced") as raised:
        read += b"".join(pieces)
    assert raised.value.retryable
    assert LARGE.startswith(read)


def test_server_errors_are_retried(server, proxy):
    storage = server.open(proxy.port)
    proxy.forced_statuses[:] = [503, 500, 503]
    storage.put("a", b"x")
    assert proxy.connections > 3
    assert storage.get("a") == b"x"


@pytest.mark.parametrize("status", [500, 503])
def test_repeated_server_errors_are_retryable(server, proxy, status):
    proxy.forced_statuses[:] = [status] * 99
    with pytest.raises(StorageError) as raised:
        server.open(proxy.port).get("a")
    assert raised.value.retryable
    assert proxy.connections == 6


def test_a_create_whose_response_is_lost_succeeds(server, proxy):
    storage = server.open(proxy.port)
    assert storage.create("before", b"")
    proxy.responses_to_drop = 1
    assert storage.create("a", b"mine")
    assert not storage.create("a", b"mine")
    assert storage.get("a") == b"mine"


def test_an_upload_whose_last_response_is_lost_succeeds(server, proxy, monkeypatch):
    storage = server.open(proxy.port)
    complete = Upload._complete

    def lose_answer(upload):
        proxy.responses_to_drop = 1
        complete(upload)

    monkeypatch.setattr(Upload, "_complete", lose_answer)
    write(storage, "a", 17)
    assert storage.size("a") == 17 * MIB


def test_a_second_create_of_the_same_content_fails(server, proxy):
    storage = server.open(proxy.port)
    assert storage.create("a", b"same")
    assert not storage.create("a", b"same")


def test_a_missing_bucket_is_named_with_its_endpoint(server):
    storage = server.open(bucket="nowhere")
    for call in (storage.get, lambda key: storage.put(key, b""), storage.folders):
        with pytest.raises(StorageError) as raised:
            list(call("a") or ())
        assert not raised.value.retryable
        assert not isinstance(raised.value, ObjectMissingError)
        assert f"s3://nowhere/{storage.url.rpartition('/')[2]}" in raised.value.message
        assert f"http://127.0.0.1:{server.port}" in raised.value.message
        assert "BATCHCHAT_STORAGE" in str(raised.value.hint)


def test_wrong_credentials_are_not_retryable_and_not_shown(swift):
    for storage in (swift.open(secret="geheim"), swift.open(key="test:unknown")):
        with pytest.raises(StorageError, match="s3://bucket") as raised:
            storage.get("a")
        assert not raised.value.retryable
        assert "AWS_SECRET_ACCESS_KEY" in str(raised.value.hint)
        assert "geheim" not in f"{raised.value} {raised.value.hint} {storage.url}"


def test_missing_credentials_are_an_error_with_a_hint(moto):
    with credentials(None, None):
        storage = S3Storage(BUCKET, endpoint=f"http://127.0.0.1:{moto.port}")
        with pytest.raises(StorageError, match="credentials") as raised:
            storage.get("a")
    assert not raised.value.retryable
    assert "AWS_ACCESS_KEY_ID" in str(raised.value.hint)


def test_an_unreachable_server_is_retryable(moto):
    with tcp_proxy(moto.port) as gone:
        storage = moto.open(gone.port)
    with pytest.raises(StorageError, match=f"127.0.0.1:{gone.port}") as raised:
        storage.get("a")
    assert raised.value.retryable
    assert "BATCHCHAT_S3_ENDPOINT" in str(raised.value.hint)


def test_folder_markers_of_a_console_are_not_listed(storage):
    where = storage._where("p")
    storage._client.put_object(Bucket=BUCKET, Key=f"{where['Key']}/", Body=b"")
    storage.put("p/a", b"x")
    assert [entry.key for entry in storage.list("")] == ["p/a"]
    assert list(storage.folders("p")) == ["a"]


def test_a_listing_of_many_pages_is_complete(storage, monkeypatch):
    names = [f"p/{index:02}/x" for index in range(25)]
    for name in names:
        storage.put(name, b"")
    paginate = storage._client.get_paginator("list_objects_v2")
    real = paginate.paginate
    small = {"PaginationConfig": {"PageSize": 4}}
    monkeypatch.setattr(paginate, "paginate", lambda **asked: real(**asked, **small))
    monkeypatch.setattr(storage._client, "get_paginator", lambda _: paginate)
    assert [entry.key for entry in storage.list("p/")] == names
    assert [entry.key for entry in storage.list("p/", "p/09/x")] == names[10:]
    assert list(storage.folders("p")) == [name[2:4] for name in names]
    assert list(storage.folders("p", "05", "12")) == [n[2:4] for n in names[6:12]]
