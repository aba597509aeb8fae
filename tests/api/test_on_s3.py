"""The API on S3-compatible storage behaves as it does on a local folder."""

import socket

import pytest

from batchchat.jobs.ledger.active_index import ActiveIndex

pytestmark = pytest.mark.server

DATA = bytes(range(256)) * 80_000  # more than one part of an upload


@pytest.fixture(params=["moto", "swift"])
def storage(request):
    return request.getfixturevalue(request.param).storage()


@pytest.fixture
def served(serve, storage):
    return serve(storage)


def test_a_multipart_object_can_be_read_whole_and_in_ranges(served):
    file_id = served.upload(DATA)
    place = f"/v1/files/{file_id}/content"
    assert served.client.get(place).content == DATA
    part = served.client.get(place, headers={"range": "bytes=16777210-16777225"})
    assert part.content == DATA[16_777_210:16_777_226]


def test_an_interrupted_upload_leaves_nothing(served):
    head = (
        "POST /v1/files HTTP/1.1\r\nhost: localhost\r\n"
        "content-type: multipart/form-data; boundary=x\r\ncontent-length: 99999999\r\n"
        '\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", served.port)) as stream:
        stream.sendall(head.encode() + DATA)
    assert served.client.get("/v1/files").json()["data"] == []
    assert served.stored() == []


def test_a_batch_can_be_created_listed_and_cancelled(served):
    batch_id = served.batch()
    assert list(ActiveIndex(served.storage)) == [("default", batch_id)]
    listed = served.client.get("/v1/batches").json()["data"]
    assert [one["id"] for one in listed] == [batch_id]
    response = served.client.post(f"/v1/batches/{batch_id}/cancel")
    assert response.json()["status"] == "cancelling"


def test_a_deleted_file_and_its_content_are_removed(served):
    file_id = served.upload()
    assert served.client.delete(f"/v1/files/{file_id}").status_code == 200
    assert served.client.get(f"/v1/files/{file_id}").status_code == 404
    assert not [key for key in served.stored() if key.endswith("/content")]


def test_a_key_authenticates_until_it_is_revoked(serve, storage):
    served = serve(storage, loopback_only=False)
    keys = served.context.keys
    (good, good_text), (bad, bad_text) = (keys.create("p") for _ in range(2))
    keys.revoke(bad.id)
    for text, status in ((good_text, 200), (bad_text, 401)):
        header = {"authorization": f"Bearer {text}"}
        assert served.client.get("/v1/models", headers=header).status_code == status
    assert {one.key.id: bool(one.revoked_at) for one in keys} == {
        good.id: False,
        bad.id: True,
    }
