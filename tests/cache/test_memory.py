"""The store in memory keeps to its bound in bytes, and to each entry's time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cache.entry import ENTRY_BYTES, Entry
from cache.memory import MemoryStore

BOUND = 100 * ENTRY_BYTES


def entry(size: int = 100, *, expires_at: float = 100.0) -> Entry:
    return Entry(200, [], ((0.0, b"x" * size),), False, False, False, 1, "m", 0.0, expires_at)


def test_an_entry_answers_until_its_time_is_over():
    store = MemoryStore(BOUND)
    store.put(("a", False), entry(expires_at=10))
    assert store.get(("a", False), 9.9) is not None
    assert store.get(("a", False), 10) is None
    assert (len(store), store.used_bytes) == (0, 0)


def test_a_stream_and_an_object_stand_beside_each_other():
    store = MemoryStore(BOUND)
    store.put(("a", False), entry())
    assert store.get(("a", True), 0) is None


def test_the_one_that_was_used_longest_ago_goes_first():
    store = MemoryStore(3 * entry().size)
    for name in "abc":
        store.put((name, False), entry())
    store.get(("a", False), 0)
    store.put(("d", False), entry())
    assert [name for name in "abcd" if store.get((name, False), 0)] == ["a", "c", "d"]


def test_what_is_larger_than_the_bound_is_not_kept_and_drives_nothing_out():
    store = MemoryStore(BOUND)
    store.put(("a", False), entry())
    store.put(("b", False), entry(BOUND))
    assert (store.get(("a", False), 0) is not None, store.get(("b", False), 0)) == (True, None)


@given(st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 40 * ENTRY_BYTES), st.booleans())))
def test_the_bound_holds_whatever_comes(steps: list[tuple[str, int, bool]]):
    store = MemoryStore(BOUND)
    for name, size, removes in steps:
        if removes:
            store.remove((name, False))
        else:
            store.put((name, False), entry(size))
        kept = [store.get((each, False), 0) for each in "abcdefghij"]
        assert store.used_bytes == sum(each.size for each in kept if each is not None) <= BOUND


def test_a_scan_of_distinct_names_keeps_to_the_bound():
    store, one = MemoryStore(BOUND), entry()
    for number in range(100_000):
        store.put((str(number), False), one)
    assert store.used_bytes <= BOUND
    assert len(store) == BOUND // one.size
