"""Results are exported as whole files, or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyarrow import parquet

from batchchat.jobs.errors import (
    ConflictError,
    CorruptObjectError,
    OutputError,
    RequestRefusedError,
    StorageError,
)
from batchchat.jobs.results import export as module
from batchchat.jobs.results.export import check_output, export, output_paths
from tests.support.ended import Hand, bare, completion, echo
from tests.support.file_limit import limit_file_size

DATA = b"\n".join(bare(str(n)) for n in range(4))


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def mixed(hand):
    """Return the state of a batch in which one request failed."""

    def answer(request):
        return RequestRefusedError("no") if request.line == 2 else echo(request)

    return hand.ended(DATA, answer)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("output", "formats", "expected"),
    [
        ("a.jsonl", "jsonl", ["a.jsonl", "a.errors.jsonl", None]),
        ("a.jsonl", "both", ["a.jsonl", "a.errors.jsonl", "a.parquet"]),
        ("a.jsonl", "parquet", [None, None, "a.parquet"]),
        ("a.parquet", "parquet", [None, None, "a.parquet"]),
        ("a.PARQUET", "both", ["a.jsonl", "a.errors.jsonl", "a.PARQUET"]),
        ("a", "both", ["a", "a.errors.jsonl", "a.parquet"]),
        (
            "llama-3.1",
            "both",
            ["llama-3.1", "llama-3.1.errors.jsonl", "llama-3.1.parquet"],
        ),
        (".jsonl", "jsonl", [".jsonl", ".jsonl.errors.jsonl", None]),
    ],
)
def test_each_format_has_its_path(tmp_path, output, formats, expected):
    places = output_paths(tmp_path / output, formats)
    assert list(places) == [name and tmp_path / name for name in expected]


def test_both_formats_and_the_errors_are_written(hand, mixed, tmp_path):
    written = export(hand.ledger, mixed.batch.id, tmp_path / "out.jsonl", "both")
    output, errors, table = written
    assert [path.name for path in written] == [
        *("out.jsonl", "out.errors.jsonl", "out.parquet")
    ]
    assert output.read_bytes() == hand.file(mixed.final.output_file_id)
    assert errors.read_bytes() == hand.file(mixed.final.error_file_id)
    assert parquet.read_table(table)["line"].to_pylist() == [1, 2, 3, 4]
    assert names(tmp_path) == ["out.errors.jsonl", "out.jsonl", "out.parquet"]


def test_exporting_parquet_leaves_other_files_unchanged(hand, mixed, tmp_path):
    (tmp_path / "out.errors.jsonl").write_text("of another run")
    [written] = export(hand.ledger, mixed.batch.id, tmp_path / "out.parquet", "parquet")
    assert written == tmp_path / "out.parquet"
    assert (tmp_path / "out.errors.jsonl").read_text() == "of another run"


def test_an_error_file_of_an_earlier_run_is_removed(hand, tmp_path):
    state = hand.ended(DATA)
    for name in ("out.jsonl", "out.errors.jsonl"):
        (tmp_path / name).write_text("stale")
    written = export(hand.ledger, state.batch.id, tmp_path / "out.jsonl", "jsonl")
    assert names(tmp_path) == ["out.jsonl"]
    assert written == [tmp_path / "out.jsonl"]
    assert written[0].read_bytes() == hand.file(state.final.output_file_id)


def test_without_answers_the_exported_output_is_empty(hand, tmp_path):
    batch_id = hand.submit(DATA)
    hand.finalize(batch_id, "cancelled")
    output, errors = export(hand.ledger, batch_id, tmp_path / "out.jsonl", "jsonl")
    assert output.read_bytes() == b""
    assert len(errors.read_bytes().splitlines()) == 4


def test_missing_folders_are_made(hand, mixed, tmp_path):
    output = tmp_path / "a" / "b" / "out.jsonl"
    assert output in export(hand.ledger, mixed.batch.id, output, "jsonl")


def test_a_symlink_is_kept(hand, mixed, tmp_path):
    target = tmp_path / "disk" / "results"
    link = tmp_path / "out.jsonl"
    link.symlink_to(target)
    export(hand.ledger, mixed.batch.id, link, "jsonl")
    assert link.is_symlink()
    assert target.read_bytes() == hand.file(mixed.final.output_file_id)


def test_files_have_the_permissions_of_any_other(hand, mixed, tmp_path):
    other = tmp_path / "other"
    other.touch()
    [output, _] = export(hand.ledger, mixed.batch.id, tmp_path / "out", "jsonl")
    assert output.stat().st_mode == other.stat().st_mode


def test_a_batch_that_has_not_ended_writes_nothing(hand, tmp_path):
    with pytest.raises(ConflictError):
        export(hand.ledger, hand.submit(DATA), tmp_path / "out.jsonl", "jsonl")
    assert names(tmp_path) == []


@pytest.mark.parametrize("formats", ["jsonl", "parquet", "both"])
def test_a_full_disk_keeps_the_old_files(hand, tmp_path, formats):
    words = iter(range(1_000_000))
    text = " ".join(f"{next(words) * 7919 % 1_000_003:x}" for _ in range(20_000))
    state = hand.ended(DATA, lambda _: completion(text))
    path = tmp_path / ("out.parquet" if formats == "parquet" else "out.jsonl")
    path.write_text("old")
    with limit_file_size(20_000), pytest.raises(OutputError) as raised:
        export(hand.ledger, state.batch.id, path, formats)
    assert str(raised.value) == f"can't write the results to `{path}`: File too large"
    assert f"`batchchat results {state.batch.id} --output PATH`" in str(
        raised.value.hint
    )
    assert names(tmp_path) == [path.name]
    assert path.read_text() == "old"


def test_no_file_changes_before_all_are_written(hand, mixed, tmp_path, monkeypatch):
    def fail(*_):
        raise StorageError("gone")

    monkeypatch.setattr(module, "write_parquet", fail)
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(StorageError, match="gone"):
        export(hand.ledger, mixed.batch.id, tmp_path / "out.jsonl", "both")
    assert names(tmp_path) == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_a_truncated_output_file_is_not_exported(hand, mixed, tmp_path):
    key = hand.ledger.keys.content(mixed.final.output_file_id)
    hand.storage.put(key, hand.storage.get(key)[:-5])
    with pytest.raises(CorruptObjectError, match="bytes instead of"):
        export(hand.ledger, mixed.batch.id, tmp_path / "out.jsonl", "jsonl")
    assert names(tmp_path) == []


def test_checking_a_valid_output_only_creates_folders(tmp_path):
    (tmp_path / "out.jsonl").write_text("old")
    check_output(tmp_path / "out.jsonl", "both")
    check_output(tmp_path / "new" / "out.parquet", "parquet")
    assert names(tmp_path) == ["new", "out.jsonl"]
    assert names(tmp_path / "new") == []
    assert (tmp_path / "out.jsonl").read_text() == "old"


@contextmanager
def unprivileged():
    """Drop root's privileges, which ignore file permissions, for the block."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with (
        unprivileged(),
        pytest.raises(OutputError, match="Permission denied") as raised,
    ):
        check_output(tmp_path / "out.jsonl", "jsonl")
    assert raised.value.code == "invalid_output"
    assert raised.value.hint == "choose another path with `--output`"


def in_the_way(folder):
    (folder / "file").touch()
    return folder / "file" / "out.jsonl", "a file is in the way"


def deep_in_the_way(folder):
    (folder / "file").touch()
    return folder / "file" / "a" / "out.jsonl", "a file is in the way"


def a_folder(folder):
    return folder, "it is a folder"


def the_root(_):
    return Path("/"), "it is a folder"


def a_device(_):
    return Path(os.devnull), "not a regular file"


def too_long(folder):
    return folder / ("x" * 250 + ".jsonl"), "File name too long"


def not_jsonl(folder):
    return folder / "out.parquet", "its name ends in `.parquet`"


@pytest.mark.parametrize(
    "place",
    [in_the_way, deep_in_the_way, a_folder, the_root, a_device, too_long, not_jsonl],
)
def test_an_unusable_output_is_an_error(tmp_path, place):
    path, reason = place(tmp_path)
    with pytest.raises(OutputError, match=reason) as raised:
        check_output(path, "jsonl")
    assert f"`{path}`" in str(raised.value)
    assert raised.value.hint
    assert not list(tmp_path.glob(".batchchat-*"))


def test_a_folder_at_the_path_of_the_second_file_is_an_error(tmp_path):
    (tmp_path / "out.parquet").mkdir()
    with pytest.raises(OutputError, match="not a regular file"):
        check_output(tmp_path / "out.jsonl", "both")
