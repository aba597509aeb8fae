"""A dataset appears complete or not at all, in parts of limited size, with a card."""

from decimal import Decimal
from functools import partial

import pyarrow as pa
import pytest
import yaml
from msgspec.structs import replace as changed
from pyarrow import parquet

from batchchat.jobs.dataset import folder as folders
from batchchat.jobs.dataset.card import dataset_card
from batchchat.jobs.dataset.folder import write_dataset
from batchchat.jobs.errors import OutputError
from batchchat.jobs.ledger.batch_object import batch_object
from batchchat.jobs.results.export import export
from batchchat.jobs.rows.row_options import RowOptions
from tests.support.ended import Hand, whole

DATA = b"".join(whole(f"q-{number}", "text") + b"\n" for number in range(6))


class Killed(BaseException):
    """The process was killed."""


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def batch(hand):
    return batch_object(hand.ended(DATA))


@pytest.fixture
def results(hand, batch):
    return lambda path: export(hand.ledger, batch.id, path, "parquet")


def groups_of_one(path):
    """Write six rows, each in a row group of its own."""
    table = pa.table({"row": range(6)})
    parquet.write_table(table, path, row_group_size=1)


def rows_of(folder):
    return [
        parquet.read_table(path).num_rows
        for path in sorted((folder / "data").iterdir())
    ]


def card_of(folder):
    text = (folder / "README.md").read_text("utf-8")
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_a_dataset_has_all_rows_and_a_card(tmp_path, batch, results):
    write_dataset(tmp_path / "set", batch, results)
    folder = tmp_path / "set"
    assert [it.name for it in tmp_path.iterdir()] == ["set"]
    assert {it.name for it in folder.iterdir()} == {"README.md", "data"}
    names = [it.name for it in (folder / "data").iterdir()]
    assert names == ["train-00000-of-00001.parquet"]
    table = parquet.read_table(folder / "data")
    assert table["custom_id"].to_pylist() == [f"q-{number}" for number in range(6)]
    metadata, body = card_of(folder)
    files = [{"split": "train", "path": "data/train-*.parquet"}]
    assert metadata["configs"] == [{"config_name": "default", "data_files": files}]
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["task_categories"] == ["text-generation"]
    assert "license" not in metadata
    for text in ("License: not set", batch.id, "`m`", "### `fp`", "6 completed"):
        assert text in body
    assert f"{batch.estimated_cost:f} US dollars" in body


@pytest.mark.parametrize(
    ("size", "expected"), [(1, [1] * 6), (10**9, [6]), (250, [2, 2, 2])]
)
def test_parts_end_at_the_given_size(tmp_path, batch, size, expected):
    one = tmp_path / "one.parquet"
    groups_of_one(one)
    group = parquet.ParquetFile(one).metadata.row_group(0).column(0)
    one.unlink()
    limit = 2 * group.total_compressed_size if size == 250 else size
    write_dataset(tmp_path / "set", batch, groups_of_one, part_bytes=limit)
    assert rows_of(tmp_path / "set") == expected
    total = len(expected)
    names = sorted(it.name for it in (tmp_path / "set/data").iterdir())
    assert names == [f"train-{n:05d}-of-{total:05d}.parquet" for n in range(total)]


def test_a_dataset_without_rows_has_an_empty_part(tmp_path, batch):
    def nothing(path):
        parquet.write_table(pa.table({"row": pa.array([], pa.int64())}), path)

    write_dataset(tmp_path / "set", batch, nothing)
    assert rows_of(tmp_path / "set") == [0]


@pytest.mark.parametrize("make", ["mkdir", "touch"])
def test_what_exists_is_not_replaced(tmp_path, batch, results, make):
    place = tmp_path / "set"
    getattr(place, make)()
    with pytest.raises(OutputError, match="it exists") as raised:
        write_dataset(place, batch, results)
    assert "--force" in (raised.value.hint or "")


def test_an_earlier_dataset_is_replaced_on_request(tmp_path, batch, results):
    place = tmp_path / "set"
    write_dataset(place, batch, groups_of_one, part_bytes=1)
    write_dataset(place, batch, results, force=True)
    assert rows_of(place) == [6]
    assert [it.name for it in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("name", ["mine.txt", "data/mine.csv"])
def test_other_files_are_never_replaced(tmp_path, batch, results, name):
    place = tmp_path / "set"
    write_dataset(place, batch, results)
    (place / name).write_text("precious")
    with pytest.raises(OutputError, match="other files"):
        write_dataset(place, batch, results, force=True)
    assert (place / name).read_text() == "precious"


def test_a_dataset_that_is_not_finished_does_not_appear(tmp_path, batch):
    def fails(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        write_dataset(tmp_path / "set", batch, fails)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("force", [False, True])
def test_a_run_that_was_killed_is_repeated(
    tmp_path, batch, results, monkeypatch, force
):
    place = tmp_path / "set"
    if force:
        write_dataset(place, batch, groups_of_one)
    calls, is_done = 0, False
    while not is_done:
        calls += 1
        write = partial(write_dataset, place, batch, results, force=force)
        is_done = _ends_before_sync(calls, write, monkeypatch)
        if place.exists():
            assert rows_of(place) == [6]
            assert card_of(place)
        write_dataset(place, batch, results, force=True)
        assert rows_of(place) == [6]
        assert [it.name for it in tmp_path.iterdir()] == ["set"]
        if not force:
            _remove(place)
    assert calls > 4


def _ends_before_sync(calls, write, monkeypatch):
    """Write until the n-th sync, without cleaning up; return whether it ended."""
    left = [calls]
    sync = folders._sync

    def count(path):
        left[0] -= 1
        if not left[0]:
            raise Killed
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "_sync", count)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        try:
            write()
        except Killed:
            return False
    return True


def _remove(place):
    for path in (*(place / "data").iterdir(), place / "README.md"):
        path.unlink()
    (place / "data").rmdir()
    place.rmdir()


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (0, "n<1K"),
        (1_000, "1K<n<10K"),
        (99_999_999, "10M<n<100M"),
        (2 * 10**9, "1B<n<10B"),
    ],
)
def test_the_card_has_the_hubs_name_of_the_size(batch, rows, size):
    metadata = dataset_card(batch, rows).split("---\n")[1]
    assert yaml.safe_load(metadata)["size_categories"] == [size]


def test_the_card_has_the_prompt_of_rows(batch):
    rows = RowOptions(
        prompt="Say {{ x }}\n```\nin | code", system="Be kind.", samples=3
    )
    text = dataset_card(changed(batch, rows=rows, estimated_cost=Decimal(0)), 9)
    assert "````\nSay {{ x }}\n```\nin | code\n````" in text
    assert "Be kind." in text
    assert "samples of each row: 3" in text


def test_the_card_of_a_template_shows_its_sampling(batch):
    template = {"messages": [], "temperature": 0.7}
    text = dataset_card(changed(batch, rows=RowOptions(template=template)), 1)
    assert '"temperature":0.7' in text
    assert "| sampling | in the template below |" in text
