"""Rows from paths, folders, globs, stdin and saved datasets, as one table."""

import gzip
import io
import sys
from types import SimpleNamespace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchchat.cli.terminal.row_input import open_row_input
from batchchat.jobs.errors import InputFileError, UsageError
from batchchat.jobs.rows import joined_tables
from batchchat.jobs.rows.row_filter import RowFilter
from tests.support.row_files import as_csv, as_lines, as_parquet, opened, rows_of, zstd

ROWS = [{"id": n, "text": f"zwölf {n}"} for n in range(30)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(*sources, **options):
    with open_row_input(sources, RowFilter(**options)) as file:
        assert file.has_rows
        assert file.size == len(b"".join(file.chunks()))
        return rows_of(opened_again(file))


def opened_again(file):
    file.stream.seek(0)
    return opened(file.stream.read())


def write(folder, parts):
    for name, data in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


MIXED = {
    "a.jsonl": as_lines(ROWS[:5]),
    "b.csv.gz": gzip.compress(as_csv(ROWS[5:10])),
    "c/d.parquet": as_parquet(pa.Table.from_pylist(ROWS[10:20])),
    "c/e.json.zst": zstd(str(ROWS[20:]).replace("'", '"').encode()),
}
OTHERS = {
    "README.md": b"# Rows\n",
    ".hidden.jsonl": b"{",
    "_SUCCESS": b"",
    "_temporary/x.jsonl": b"{",
    "c/.cache/x.jsonl": b"{",
    "dataset_info.json": b"{}",
}


def test_the_rows_of_a_folder_are_those_of_its_files_by_name(folder):
    write(folder / "data", MIXED | OTHERS)
    assert stored("data") == stored(f"{folder}/data/") == ROWS
    assert stored("data", where="id >= 8", limit=3) == ROWS[8:11]


def test_a_glob_selects_files(folder):
    write(folder, MIXED | OTHERS)
    assert stored("?.*") == ROWS[:10]
    assert stored("c/*") == ROWS[10:]
    assert stored("c/*", "a.jsonl") == ROWS[10:] + ROWS[:5]
    assert stored("**/*.parquet") == ROWS[10:20]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(folder):
    write(folder, {"a[1].jsonl": as_lines(ROWS)})
    assert stored("a[1].jsonl") == ROWS


def test_stdin_can_be_a_pipe_of_any_format(monkeypatch):
    for data in (*MIXED.values(), as_lines(ROWS)):
        stdin = SimpleNamespace(buffer=io.BytesIO(data))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert stored("-")[0].keys() == ROWS[0].keys()


def test_very_many_files_can_be_read(folder, monkeypatch):
    monkeypatch.setattr(joined_tables, "_OPEN_FILES", 2)
    write(folder, {f"{n:02}.jsonl": as_lines([row]) for n, row in enumerate(ROWS)})
    assert stored("*.jsonl", sample=30) == ROWS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "no files of rows in `empty`"),
        ("*.parquet", "no file matches `*.parquet`"),
        ("missing.csv", "no such file: `missing.csv`"),
        ("ftp://x/y", "no such file"),
    ],
)
def test_a_source_without_files_is_an_error(folder, name, words):
    write(folder, {"empty/README.md": b""})
    with pytest.raises(InputFileError) as caught:
        stored(name)
    assert words in caught.value.message
    assert caught.value.hint


def test_an_error_names_the_file_in_which_it_is(folder):
    write(folder, MIXED | {"c/d.jsonl": b'{"id": 1}\n{"id"\n'})
    with pytest.raises(InputFileError, match=r"`[^`]*c/d\.jsonl`, row 2"):
        stored(".")


def test_no_row_is_an_error(folder):
    write(folder, MIXED | {"empty.csv": b"a,b\n"})
    with pytest.raises(InputFileError, match=r"no row of `a\.jsonl` matches"):
        stored("a.jsonl", where="id > 99")
    with pytest.raises(InputFileError, match=r"`empty\.csv` has no rows"):
        stored("empty.csv")
    with pytest.raises(UsageError, match="no column `ids`"):
        stored("a.jsonl", where="ids > 99")


def array(*values, kind=None):
    return pa.table({"id": range(len(values)), "x": pa.array(values, kind)})


COMPATIBLE = [
    (as_parquet(array(1)), as_parquet(array(0.5)), [1.0, 0.5]),
    (as_parquet(array(1, kind=pa.int8())), as_parquet(array(2**40)), [1, 2**40]),
    (as_parquet(array(None)), as_parquet(array("a")), [None, "a"]),
    (as_parquet(array("a", kind=pa.large_string())), as_parquet(array("b")), None),
    (
        as_parquet(array("a").append_column("y", pa.array([1]))),
        as_parquet(array("b")),
        ["a", "b"],
    ),
    (
        as_parquet(pa.table({"x": pa.array(["a"]).dictionary_encode()})),
        as_lines([{"x": "b"}]),
        ["a", "b"],
    ),
    (as_lines([{"x": 1}]), as_lines([{"x": "a"}]), ["1", "a"]),
    (b"x,y\n1,2\n", b"x,y\na,b\n", ["1", "a"]),
    (as_lines([{"x": [1]}]), as_lines([{"x": ["a"]}]), [["1"], ["a"]]),
    (as_lines([{"x": {"a": None}}]), as_lines([{"x": {"a": 1}}]), None),
    (as_lines([{"x": {"a": 1}}]), as_lines([{"x": {"b": 1}}]), ['{"a":1}', '{"b":1}']),
    (as_lines([{"x": [{"a": 1}]}]), as_lines([{"x": "b"}]), ['[{"a":1}]', '"b"']),
    (as_lines([{"x": 1}]), as_parquet(array(0.5)), [1.0, 0.5]),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "expected"), COMPATIBLE)
def test_columns_of_several_files_are_widened(folder, one, other, expected):
    write(folder, {"one.csv": one, "other.csv": other})
    values = [row["x"] for row in stored("one.csv", "other.csv")]
    assert values == (expected or values)
    reverse = [row["x"] for row in stored("other.csv", "one.csv")]
    assert reverse == values[::-1]


@pytest.mark.parametrize(
    "other", [array("a"), array({"a": 1}), array(True), array(b"a")]
)
def test_incompatible_columns_are_an_error_that_names_them(folder, other):
    write(folder, {"one": as_parquet(array(1)), "other": as_parquet(other)})
    kind = other.schema.field("x").type
    with pytest.raises(InputFileError) as caught:
        stored("one", "other")
    assert f"column `x` has the type `{kind}` in `other`, but `int64` in `one`" in (
        caught.value.message
    )


@pytest.mark.usefixtures("folder")
def test_a_saved_dataset_is_read_in_its_order():
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk("saved", num_shards=12)
    assert stored("saved") == ROWS
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk("splits")
    with pytest.raises(InputFileError, match="several splits") as caught:
        stored("splits")
    assert "`splits/train`" in str(caught.value.hint)
    assert stored("splits/test") == ROWS


@pytest.fixture
def hub(folder, monkeypatch):
    """Let `datasets` find the dataset `org/name` in a folder."""
    load = datasets.load_dataset
    asked = []

    def load_dataset(path, **options):
        asked.append((path, options.pop("revision")))
        if path != "org/name":
            message = f"Dataset '{path}' doesn't exist on the Hub"
            raise datasets.exceptions.DatasetNotFoundError(message)
        return load(str(folder / "hub"), **options)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.mark.parametrize(
    "parts",
    [
        {"train.jsonl": as_lines(ROWS), "test.jsonl": as_lines(ROWS[:2])},
        {
            "data/train-0.parquet": as_parquet(pa.Table.from_pylist(ROWS[:9])),
            "data/train-1.parquet": as_parquet(pa.Table.from_pylist(ROWS[9:])),
            "data/test-0.parquet": as_parquet(pa.Table.from_pylist(ROWS[:2])),
        },
    ],
)
def test_a_dataset_of_the_hub_is_read_by_split(folder, hub, parts):
    write(folder / "hub", parts)
    assert stored("hf://datasets/org/name/train", limit=20) == ROWS[:20]
    assert stored("hf://datasets/org/name@v1.0/test") == ROWS[:2]
    assert hub == [("org/name", None), ("org/name", "v1.0")]
    for url, words in (
        ("hf://datasets/org/name", "has several splits; it has `train`, `test`"),
        ("hf://datasets/org/name/dev", "has no split `dev`"),
        ("hf://datasets/org/other", "doesn't exist on the Hub"),
        ("hf://models/org/name", "does not name a dataset"),
        ("hf://datasets/name", "does not name a dataset"),
    ):
        with pytest.raises(InputFileError) as caught:
            stored(url)
        assert words in caught.value.message
        assert caught.value.hint


def test_the_only_split_needs_no_name(folder, hub):
    write(folder / "hub", {"train.jsonl": as_lines(ROWS)})
    assert stored("hf://datasets/org/name") == ROWS
    assert hub


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputFileError, match="needs the library") as caught:
        stored("hf://datasets/org/name")
    assert "pip install 'batchchat[datasets]'" in str(caught.value.hint)


def test_rows_are_stored_in_groups_of_bounded_size(folder, monkeypatch):
    monkeypatch.setattr("batchchat.jobs.rows.stored_table._GROUP_BYTES", 1_000)
    write(
        folder,
        {"a.parquet": as_parquet(pa.Table.from_pylist(ROWS * 9), row_group_size=50)},
    )
    with open_row_input(["a.parquet"], RowFilter()) as file:
        metadata = pq.ParquetFile(io.BytesIO(b"".join(file.chunks()))).metadata
    assert metadata.num_rows == 270
    assert metadata.num_row_groups > 2
    assert metadata.row_group(0).column(0).compression == "ZSTD"
