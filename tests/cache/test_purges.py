"""F88: what a purge hides, and how rows are deleted."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from cache.entry import NOTHING, About, Entry, packed, unpacked
from cache.memory import MemoryStore
from cache.models import CachedResponse, CachePurge
from cache.names import name_of, name_text
from cache.purge import hidden_by, live, prune, purge, purges_of
from cache.purges import KEPT_S, Purge, Purges
from tests.kit.rows import make_cached

NOW = time.time()
CHAT = About("/v1/chat/completions", "gpt-4.1-mini", 7, "req_1", "chatcmpl-1", 0)


def known(*purges: Purge) -> Purges:
    made = Purges()
    made.add(purges, NOW)
    return made


def about(**members: Any) -> About:
    return About(**{name: members.get(name, getattr(CHAT, name)) for name in About.__struct_fields__})


@pytest.mark.parametrize(
    "members, hidden",
    [
        ({}, True),
        ({"digest": "d"}, True),
        ({"digest": "other"}, False),
        ({"project_id": 7}, True),
        ({"project_id": 8}, False),
        ({"path": "/v1/chat"}, True),
        ({"path": "/v1/embeddings"}, False),
        ({"model": "gpt-4"}, True),
        ({"model": "gpt-5"}, False),
        ({"digest": "d", "project_id": 8}, False),
        ({"project_id": 7, "model": "gpt-4", "path": "/v1/"}, True),
        ({"project_id": 7, "model": "claude"}, False),
    ],
    ids=str,
)
def test_a_purge_hides_that_to_which_all_of_it_applies(members: dict[str, Any], hidden: bool):
    assert known(Purge(1, NOW, **members)).hides("d", CHAT) is hidden


def test_an_answer_that_was_asked_for_later_is_not_hidden():
    purges = known(Purge(3, NOW))
    assert [purges.hides("d", about(purge=number)) for number in (2, 3, 4)] == [True, False, False]


def test_a_purge_is_forgotten_when_no_entry_can_be_older():
    purges = known(Purge(1, NOW - KEPT_S - 1), Purge(2, NOW - KEPT_S - 1, digest="d"))
    assert len(purges) == 0
    assert purges.newest == 2


PURGES = st.builds(
    Purge,
    st.integers(1, 20),
    st.just(NOW),
    st.sampled_from(["", "d", "e"]),
    st.sampled_from([None, 1, 2]),
    st.sampled_from(["", "/v1/", "/v1/chat", "/v1/emb"]),
    st.sampled_from(["", "gpt", "gpt-4"]),
)


@given(
    st.lists(PURGES, max_size=8),
    st.sampled_from(["d", "e", "f"]),
    st.builds(
        About,
        st.sampled_from(["/v1/chat/completions", "/v1/embeddings"]),
        st.sampled_from(["gpt-3", "gpt-4.1", "claude"]),
        st.sampled_from([None, 1, 2]),
        st.just("req_1"),
        st.just("chatcmpl-1"),
        st.integers(0, 20),
    ),
)
def test_purges_together_hide_what_one_of_them_hides(purges: list[Purge], digest: str, entry: About):
    in_order = sorted(purges, key=lambda each: each.number)  # as they become visible
    assert known(*in_order).hides(digest, entry) is any(
        each.number > entry.purge and each.concerns(digest, entry) for each in in_order
    )


def test_memory_drops_what_is_hidden():
    store = MemoryStore(100_000)
    store.put(("d", False), entry_of(about()))
    store.put(("e", True), entry_of(about(model="claude")))
    store.drop_hidden(known(Purge(1, NOW, model="gpt")))
    assert [("d", False) in store, ("e", True) in store] == [False, True]


# --- what is written --------------------------------------------------------------------------------------------


def entry_of(of: About = NOTHING, **members: Any) -> Entry:
    times: dict[str, Any] = {"created_at": NOW, "expires_at": NOW + 60, **members}
    return Entry(
        status=200,
        headers=[(b"content-type", b"application/json")],
        pieces=((0.0, b"{}"),),
        is_stream=False,
        tells_usage=False,
        asked_usage=False,
        provider_id=1,
        model="m",
        about=of,
        **times,
    )


@given(st.binary(max_size=30))
def test_what_is_no_entry_is_none(data: bytes):
    assert unpacked(b"1" + data) is None or packed(unpacked(b"1" + data) or entry_of()) != b""
    assert unpacked(b"0" + data) is None


@given(
    st.lists(st.tuples(st.floats(0, 600), st.binary(max_size=50)), max_size=5).map(tuple),
    st.booleans(),
    st.integers(0, 2**62),
)
def test_an_entry_is_read_as_it_was_written(pieces: Any, is_stream: bool, number: int):
    entry = Entry(
        200, [(b"a", b"b")], pieces, is_stream, True, False, 3, "m", 1.5, 2.5, about(purge=number), not is_stream
    )
    assert unpacked(packed(entry)) == entry


def test_a_name_has_one_text():
    for name in (("ab", True), ("ab", False)):
        assert name_of(name_text(name)) == name


# --- rows --------------------------------------------------------------------------------------------------------


def names() -> list[str]:
    return list(CachedResponse.objects.order_by("name").values_list("name", flat=True))


def about_row(row: CachedResponse) -> About:
    return about(path=row.path, model=row.model, project_id=row.project_id, purge=row.purge)


@pytest.mark.django_db
def test_a_purge_deletes_the_rows_that_it_hides():
    rows: dict[str, dict[str, Any]] = {"ap": {}, "as": {}, "bp": {"project_id": 8}, "cp": {"model": "100%_off"}}
    for name, members in rows.items():
        make_cached(name, **members)
    assert purge(cache_key="a")[1] == 2
    assert names() == ["bp", "cp"]
    assert purge(model="100%")[1] == 1
    assert purge(project_id=9)[1] == 0
    made, count = purge()
    assert (count, names()) == (1, [])
    assert [each.number for each in purges_of()][-1] == made.pk
    assert purges_of([made.pk]) == [Purge(made.pk, made.created_at.timestamp())]


@pytest.mark.django_db
def test_rows_are_hidden_by_the_same_rule_as_entries_in_memory():
    """Case counts, and what means something to LIKE means nothing."""
    key = "a" * 64
    rows = [
        make_cached(key + "p", model="GPT-4"),
        make_cached(key + "s", model="gpt-4"),
        make_cached("b" * 64 + "p", model="gpt_4", project_id=8, path="/v1/embeddings"),
        make_cached("c" * 64 + "p", project_id=None),
    ]
    for members in (
        {"model": "GPT"},
        {"model": "gpt_"},
        {"project_id": 8},
        {"path": "/v1/Chat"},
        {"path": "/v1/chat", "model": "gpt-4"},
        {"cache_key": key},
        {"cache_key": key, "project_id": 8},
        {},
    ):
        made = CachePurge.objects.create(**members)
        purges = known(*purges_of([made.pk]))
        left = {row.name for row in rows if not purges.hides(row.cache_key, about_row(row))}
        assert {row.name for row in live()} == left, members
        assert set(names()) - {row.name for row in CachedResponse.objects.filter(hidden_by(made))} == left, members
        made.delete()


@pytest.mark.django_db
def test_answers_are_listed_after_many_purges():
    make_cached("a" * 64 + "p")
    CachePurge.objects.bulk_create([CachePurge(cache_key=f"{number:064x}") for number in range(1200)])
    assert [row.name for row in live()] == ["a" * 64 + "p"]


@pytest.mark.django_db
def test_a_row_that_a_late_process_writes_is_hidden_and_deleted():
    made, _ = purge(project_id=7)
    make_cached("late", purge=made.pk - 1)
    make_cached("new", purge=made.pk)
    assert [each.name for each in live()] == ["new"]
    assert prune().purged == 1
    assert names() == ["new"]


@pytest.mark.django_db
def test_what_has_expired_is_deleted_and_is_not_live():
    make_cached("old", expires_at=timezone.now() - timedelta(seconds=1))
    make_cached("new")
    assert [each.name for each in live()] == ["new"]
    assert prune().expired == 1
    assert names() == ["new"]


@pytest.mark.django_db
def test_those_used_longest_ago_go_beyond_the_bound(settings: Any):
    settings.HTTP_CACHE_STORE_BYTES = 2500
    now = timezone.now()
    make_cached("stored long ago, used now", created_at=now - timedelta(hours=2), last_hit_at=now)
    make_cached("used long ago", created_at=now - timedelta(hours=3), last_hit_at=now - timedelta(hours=1))
    make_cached("never used", created_at=now - timedelta(minutes=1))
    assert prune().beyond_bound == 1
    assert names() == ["never used", "stored long ago, used now"]


@pytest.mark.django_db
def test_old_purges_are_forgotten_but_for_the_newest():
    made = [purge(cache_key=str(number))[0] for number in range(3)]
    CachePurge.objects.update(created_at=timezone.now() - timedelta(seconds=KEPT_S + 1))
    prune()
    assert list(CachePurge.objects.values_list("pk", flat=True)) == [made[-1].pk]
    assert CachedResponse.objects.filter(hidden_by(made[-1])).count() == 0
