"""/v1/files, by OpenAI's Python clients."""

from functools import partial

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError

pytestmark = pytest.mark.engine

DATA = b'{"messages": [{"role": "user", "content": "hi"}]}\n'


@pytest.fixture
def file(api):
    created = partial(
        api.client.files.create, file=("mine.jsonl", DATA), purpose="batch"
    )
    return api(created)


def test_an_upload_returns_the_file_object(file, now):
    assert file.object == "file"
    assert file.id.startswith("file_")
    assert (file.bytes, file.filename) == (len(DATA), "mine.jsonl")
    assert (file.purpose, file.status) == ("batch", "processed")
    assert file.expires_at is None
    assert abs(file.created_at - now) < 60


def test_an_uploaded_path_is_named_after_its_last_component(api, path):
    file = api(api.client.files.create, file=path, purpose="batch")
    assert file.filename == "on-disk.jsonl"


def test_an_open_file_can_be_uploaded(api, path):
    with path.open("rb") as opened:
        file = api(api.client.files.create, file=opened, purpose="batch")
    assert file.bytes == path.stat().st_size


def test_a_filename_may_use_any_script(api):
    created = partial(
        api.client.files.create, file=("вопросы 質問.jsonl", DATA), purpose="batch"
    )
    assert api(created).filename == "вопросы 質問.jsonl"


def test_a_file_can_be_retrieved(api, file):
    assert api(api.client.files.retrieve, file.id) == file


def test_the_content_equals_the_upload(api, file):
    assert api(api.client.files.content, file.id).content == DATA


def test_a_range_of_the_content_can_be_downloaded(api, file):
    header = {"range": "bytes=2-9"}
    part = api(api.client.files.content, file.id, extra_headers=header)
    assert part.content == DATA[2:10]
    assert part.response.status_code == 206
    assert part.response.headers["content-range"] == f"bytes 2-9/{len(DATA)}"


def test_the_content_can_be_streamed_to_a_file(api, file, tmp_path):
    target = tmp_path / "copy.jsonl"
    api.save(api.client.files.with_streaming_response.content(file.id), target)
    assert target.read_bytes() == DATA


def test_the_newest_file_is_listed_first(api, file):
    # By purpose: a batch that ends meanwhile adds its output to the files.
    listed = api(api.client.files.list, purpose="batch", limit=1)
    assert [one.id for one in listed.data] == [file.id]


def test_files_can_be_listed_oldest_first(api, file):
    ids = [one.id for one in api.all(api.client.files.list(order="asc"))]
    assert ids == sorted(ids)
    assert file.id in ids


def test_paging_through_all_files_ends(api, file):
    ids = [one.id for one in api.all(api.client.files.list(limit=3))]
    assert file.id in ids
    assert ids == sorted(set(ids), reverse=True)


@pytest.mark.usefixtures("file")
def test_files_can_be_listed_by_purpose(api):
    created = partial(api.client.files.create, file=("e.jsonl", DATA), purpose="evals")
    other = api(created)
    listed = api.all(api.client.files.list(purpose="evals"))
    assert other.id in [one.id for one in listed]
    assert {one.purpose for one in listed} == {"evals"}


def test_a_deleted_file_is_not_found(api, file):
    deleted = api(api.client.files.delete, file.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (file.id, True, "file")
    with pytest.raises(NotFoundError):
        api(api.client.files.retrieve, file.id)
    with pytest.raises(NotFoundError):
        api(api.client.files.content, file.id)
    with pytest.raises(NotFoundError):
        api(api.client.files.delete, file.id)
    assert file.id not in [one.id for one in api.all(api.client.files.list())]


def test_a_file_can_expire(api):
    kept = {"anchor": "created_at", "seconds": 3_600}
    created = partial(
        api.client.files.create,
        file=("brief.jsonl", DATA),
        purpose="batch",
        expires_after=kept,
    )
    file = api(created)
    assert file.expires_at == file.created_at + 3_600


def test_the_expiry_of_a_file_is_limited(api):
    kept = {"anchor": "created_at", "seconds": 1}
    created = partial(
        api.client.files.create,
        file=("brief.jsonl", DATA),
        purpose="batch",
        expires_after=kept,
    )
    with pytest.raises(BadRequestError) as caught:
        api(created)
    assert caught.value.param == "expires_after[seconds]"


def test_a_file_is_processed_at_once(api, file):
    assert api(api.client.files.wait_for_processing, file.id).status == "processed"


def test_an_unknown_file_is_not_found(api):
    with pytest.raises(NotFoundError) as caught:
        api(api.client.files.retrieve, f"file_{'0' * 32}")
    assert caught.value.type == "invalid_request_error"
    assert "No such File object" in caught.value.message


def test_an_unknown_purpose_is_rejected(api):
    with pytest.raises(BadRequestError) as caught:
        api(api.client.files.create, file=("a.jsonl", DATA), purpose="pleasure")
    assert (caught.value.param, caught.value.code) == ("purpose", "invalid_value")


def test_a_path_is_reduced_to_its_filename(api):
    created = partial(
        api.client.files.create, file=("../up.jsonl", DATA), purpose="batch"
    )
    assert api(created).filename == "up.jsonl"


def test_a_filename_that_is_no_name_is_rejected(api):
    created = partial(api.client.files.create, file=("..", DATA), purpose="batch")
    with pytest.raises(APIStatusError) as caught:
        api(created)
    assert caught.value.status_code == 400
    assert caught.value.param == "file"
