from batchchat.jobs.lru_cache import LruCache


def test_the_entry_that_was_not_used_for_longest_is_dropped():
    cache = LruCache[str, int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_sizes_of_all_entries_stay_within_the_limit():
    cache = LruCache[str, bytes](10, size_of=len)
    cache.put("a", bytes(6))
    cache.put("b", bytes(4))
    assert cache.get("a") is not None
    cache.put("c", bytes(4))
    assert [cache.get(key) is None for key in "abc"] == [False, True, False]


def test_a_value_larger_than_the_cache_is_not_kept():
    cache = LruCache[str, bytes](10, size_of=len)
    cache.put("a", bytes(11))
    assert cache.get("a") is None
    cache.put("b", bytes(10))
    assert cache.get("b") is not None


def test_a_replaced_value_frees_its_size():
    cache = LruCache[str, bytes](10, size_of=len)
    for _ in range(5):
        cache.put("a", bytes(6))
    cache.put("b", bytes(4))
    assert cache.get("a") is not None


def test_removed_values_free_their_size():
    cache = LruCache[str, bytes](10, size_of=len)
    cache.put("a", bytes(10))
    cache.remove("a")
    cache.remove("missing")
    cache.put("b", bytes(10))
    assert (cache.get("a"), cache.get("b")) == (None, bytes(10))
    cache.clear()
    cache.put("c", bytes(10))
    assert (cache.get("b"), cache.get("c")) == (None, bytes(10))
