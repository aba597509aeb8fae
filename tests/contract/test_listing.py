"""What every storage promises of its listings."""

from batchchat.jobs.storage import Entry


def keys(storage, *arguments):
    return [entry.key for entry in storage.list(*arguments)]


def put_all(storage, *names):
    for name in names:
        storage.put(name, name.encode())


def test_a_listing_is_sorted_by_the_whole_key(storage):
    names = ["a/b", "a-b/c", "a0", "a.b", "a/a/z", "a/a.z", "B", "a_b", "a-b.c"]
    put_all(storage, *names)
    assert keys(storage, "") == sorted(names)
    assert keys(storage, "a")[:4] == ["a-b.c", "a-b/c", "a.b", "a/a.z"]


def test_a_listing_has_sizes(storage):
    storage.put("a/b", b"12345")
    assert list(storage.list("a/")) == [Entry("a/b", 5)]


def test_a_listing_continues_after_a_key(storage):
    put_all(storage, "p/a", "p/b", "p/b-c", "p/d/e", "p/f")
    assert keys(storage, "p/", "p/b") == ["p/b-c", "p/d/e", "p/f"]
    assert keys(storage, "p/", "p/c") == ["p/d/e", "p/f"]
    assert keys(storage, "p/", "p/f") == []


def test_a_prefix_may_end_within_a_segment(storage):
    put_all(storage, "p/00001.json", "p/00010.json", "p/0001/x", "p/1", "q/0001")
    assert keys(storage, "p/0001") == ["p/0001/x", "p/00010.json"]
    assert keys(storage, "p/00010.json") == ["p/00010.json"]


def test_a_prefix_is_not_a_folder(storage):
    put_all(storage, "ab/c", "a/b")
    assert keys(storage, "a") == ["a/b", "ab/c"]
    assert keys(storage, "a/") == ["a/b"]


def test_a_listing_of_an_unused_prefix_is_empty(storage):
    assert keys(storage, "") == keys(storage, "a/b/c") == []
    assert list(storage.folders("a")) == []


def test_unfinished_objects_are_not_listed(storage):
    with storage.writer("p/a/b") as file:
        file.write(b"half")
        assert keys(storage, "") == keys(storage, "p/") == keys(storage, "p/a/") == []
        assert list(storage.folders("p/a")) == []


def test_objects_may_be_deleted_while_they_are_listed(storage):
    put_all(storage, "p/a", "p/b", "p/c")
    listed = []
    for entry in storage.list("p/"):
        listed.append(entry.key)
        storage.delete("p/b")
    assert [key for key in listed if key != "p/b"] == ["p/a", "p/c"]


def test_folders_are_the_sorted_distinct_next_segments(storage):
    put_all(storage, "p/b/x", "p/b/y/z", "p/a/x", "p/a-b/x", "p/c", "pp/d/x")
    assert list(storage.folders("p")) == ["a", "a-b", "b", "c"]
    assert list(storage.folders("p/b")) == ["x", "y"]


def test_folders_can_be_limited_to_a_range_of_names(storage):
    put_all(storage, *(f"p/{name}/{end}" for name in "abcdef" for end in "xy"))
    assert list(storage.folders("p", "b")) == ["c", "d", "e", "f"]
    assert list(storage.folders("p", "b", "e")) == ["c", "d"]
    assert list(storage.folders("p", "", "c")) == ["a", "b"]
    assert list(storage.folders("p", "bb", "dd")) == ["c", "d"]
    assert list(storage.folders("p", "f")) == list(storage.folders("p", "", "a")) == []
