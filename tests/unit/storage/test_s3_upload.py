"""Rare responses of S3 servers."""

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from batchchat.jobs.errors import StorageError
from batchchat.jobs.storage.s3 import storage as s3
from batchchat.jobs.storage.s3 import upload as uploads
from batchchat.jobs.storage.s3.upload import PART_BYTES, Upload, part_bytes

WHERE = {"Bucket": "b", "Key": "k"}
WHOLE = {"ResponseMetadata": {"HTTPHeaders": {"content-length": "0"}}}
ANSWER = {"UploadId": "u", "ETag": '"e"', **WHOLE}


class Client:
    """Answers each call by what is in store for it, or by nothing special."""

    def __init__(self, **answers):
        self.answers = {name: list(given) for name, given in answers.items()}
        self.calls = []
        self.metadata = {}
        self.meta = SimpleNamespace(endpoint_url="http://x")

    def __getattr__(self, name):
        def call(**asked):
            self.calls.append(name)
            self.metadata |= asked.get("Metadata", {})
            answer = (self.answers.get(name) or [dict(ANSWER)]).pop(0)
            if isinstance(answer, str):
                raise ClientError({"Error": {"Code": answer}}, name)
            return answer

        return call


def head(metadata):
    return {"head_object": [{"Metadata": metadata}]}


def upload(client):
    large = Upload(client, WHERE, "`place`")
    large.write(bytes(PART_BYTES + 1))
    return large


@pytest.fixture
def storage(monkeypatch):
    def make(client):
        monkeypatch.setattr(s3, "s3_client", lambda *_, **__: client)
        return s3.S3Storage("b")

    monkeypatch.setattr(s3, "_CONFLICT_WAIT_SECONDS", (0, 0))
    return make


def test_a_missing_upload_that_was_completed_is_a_success():
    client = Client(complete_multipart_upload=["NoSuchUpload"])
    large = upload(client)
    client.answers |= head(client.metadata)
    large.finish()


@pytest.mark.parametrize("found", [{}, {"batchchat-write": "another's"}])
def test_a_missing_upload_that_was_not_completed_is_an_error(found):
    client = Client(complete_multipart_upload=["NoSuchUpload"], **head(found))
    with pytest.raises(StorageError):
        upload(client).finish()


def test_a_put_is_sent_again_while_another_is_under_way(storage):
    client = Client(put_object=["ConditionalRequestConflict"] * 2)
    assert storage(client).create("k", b"")
    assert client.calls == ["put_object"] * 3


def test_a_put_that_conflicts_for_ever_is_given_up(storage):
    client = Client(put_object=["ConditionalRequestConflict"] * 3)
    with pytest.raises(StorageError):
        storage(client).create("k", b"")
    assert client.calls == ["put_object"] * 3


def test_an_object_that_disappears_was_not_written_by_this_call(storage):
    client = Client(put_object=["PreconditionFailed"], head_object=["404"])
    assert not storage(client).create("k", b"")


def test_a_failed_abort_is_ignored():
    large = upload(Client(abort_multipart_upload=["InternalError"]))
    large.abort()


@pytest.mark.parametrize("etag", ['"e', '"', "", None])
def test_a_part_is_sent_again_if_its_etag_was_cut(etag):
    cut = WHOLE if etag is None else {**WHOLE, "ETag": etag}
    client = Client(upload_part=[cut, dict(ANSWER)])
    large = upload(client)
    assert client.calls.count("upload_part") == 2
    assert large._parts == [{"ETag": '"e"', "PartNumber": 1}]


def test_a_part_whose_etag_is_always_cut_is_given_up():
    with pytest.raises(StorageError) as caught:
        upload(Client(upload_part=[WHOLE] * 6))
    assert caught.value.retryable


def test_parts_grow_so_that_ten_thousand_hold_the_largest_object():
    sizes = [part_bytes(number) for number in range(1, 10_001)]
    assert sizes[:1000] == [PART_BYTES] * 1000
    assert sizes[1000] == 2 * PART_BYTES
    assert sizes == sorted(sizes)
    assert 5 * 1024**4 < sum(sizes) < 5.2 * 1024**4
    assert max(sizes) < 5 * 1024**3, "the largest part of S3"
    assert sizes[-1] * 2 < 2.5 * 1024**3, "the memory that an upload needs"


def test_an_object_of_too_many_parts_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr(uploads, "_MAX_PARTS", 1)
    large = upload(Client())
    with pytest.raises(StorageError, match="too large") as caught:
        large.write(bytes(PART_BYTES))
    assert not caught.value.retryable
