"""The ledger's writer: each event once, whoever writes it and however often."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection

from keys.models import VirtualKey
from tests.kit.events import NOW, event, ids, written_ids
from usage.event import RequestEvent
from usage.ledger.totals import EVER
from usage.ledger.write import Position, read_position, write_events
from usage.models import RequestRecord, ScopeTotal

pytestmark = pytest.mark.django_db(transaction=True)


def totals(kind: str) -> dict[str, tuple[int, int]]:
    rows = ScopeTotal.objects.filter(kind=kind, slot=EVER).values_list("ident", "requests", "cost_picousd")
    return {ident: (requests, cost) for ident, requests, cost in rows}


def make_keys(count: int) -> list[int]:
    return [VirtualKey.objects.mint(name=f"k{number}")[0].pk for number in range(count)]


def test_duplicates_count_once_within_a_batch_and_over_batches():
    (key,) = make_keys(1)
    first, second, third = (event(NOW + timedelta(seconds=number), key=key) for number in range(3))
    write_events([first, second, first], Position("a", 10))
    write_events([third, second, third, first], Position("a", 20))
    write_events([first, second, third], Position("a", 30))
    assert written_ids() == ids([first, second, third])
    assert totals("key") == {str(key): (3, 3_000)}
    assert totals("global") == {"1": (3, 3_000)}
    used = VirtualKey.objects.get(pk=key)
    assert (used.total_requests, used.last_used_at) == (3, NOW + timedelta(seconds=2))
    assert read_position("a") == 30


def test_every_field_arrives_as_it_was():
    full = event(
        key=1, project=2, user=3, team=4, provider="open\tai", credential="d\\N", model='a"b,\n', model_served="ü",
        stream=True, error="x", cache="HIT", attempts=2, prompt_tokens=1, completion_tokens=2, cached_tokens=3,
        reasoning_tokens=4, cache_write_tokens=5, audio_tokens=6, usage_source="provider", price_source="override",
        ttft_ms=1.5, upstream_ms=2.25, request_bytes=7, response_bytes=8, ip="::1", correlation_id="{}",
        response_id="r", tags=("a", "b\\"), duration_ms=0.1,
    )  # fmt: skip
    bare = event(cost_picousd=None)
    write_events([full, bare])
    row = RequestRecord.objects.get(pk=full.id)
    assert (row.created_at, row.method, row.endpoint, row.status_code) == (NOW, "POST", full.path, 200)
    same = (
        "provider", "credential", "model", "model_served", "stream", "error", "cache", "attempts", "prompt_tokens",
        "completion_tokens", "cached_tokens", "reasoning_tokens", "cache_write_tokens", "audio_tokens", "usage_source",
        "cost_picousd", "price_source", "ttft_ms", "duration_ms", "upstream_ms", "request_bytes", "response_bytes",
        "ip", "correlation_id", "response_id", "outcome",
    )  # fmt: skip
    assert {name: getattr(row, name) for name in same} == {name: getattr(full, name) for name in same}
    assert (row.key_id, row.project_id, row.user_id, row.team_id, row.tags) == (1, 2, 3, 4, ["a", "b\\"])
    row = RequestRecord.objects.get(pk=bare.id)
    assert (row.key_id, row.prompt_tokens, row.cost_picousd, row.ttft_ms, row.ip, row.tags) == (None,) * 5 + ([],)


@pytest.mark.parametrize("bad", [{"attempts": -1}, {"prompt_tokens": 2**63}, {"ip": "nowhere"}])
def test_a_refused_row_leaves_nothing_of_its_batch(bad):
    if connection.vendor == "sqlite" and "ip" in bad:
        pytest.skip("SQLite has no addresses")
    good = event()
    with pytest.raises((DatabaseError, OverflowError)):
        write_events([good, event(**bad)], Position("a", 10))
    assert (written_ids(), totals("global"), read_position("a")) == ([], {}, 0)
    write_events([good], Position("a", 5))
    assert (written_ids(), totals("global"), read_position("a")) == ([good.id], {"1": (1, 1_000)}, 5)


def test_writers_at_once_with_the_same_events_and_keys_neither_lock_up_nor_count_twice():
    """Each writer has all events, in an order and in batches of its own, so every row and every key is fought for."""
    keys = make_keys(20)
    events = [event(NOW + timedelta(seconds=number), key=keys[number % 20], user=number % 7) for number in range(600)]

    def write(seed: int) -> None:
        mine = random.Random(seed).sample(events, len(events))
        try:
            for first in range(0, len(mine), 40):
                write_events(mine[first : first + 40], Position(f"writer-{seed}", first))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, seed) for seed in range(4)]:
            done.result()
    assert written_ids() == ids(events)
    assert totals("global") == {"1": (600, 600_000)}
    assert totals("key") == {str(key): (30, 30_000) for key in keys}
    assert totals("user") == counts_of(events)
    assert set(VirtualKey.objects.values_list("total_requests", flat=True)) == {30}


def counts_of(events: list[RequestEvent]) -> dict[str, tuple[int, int]]:
    return {user: (count, count * 1_000) for user, count in Counter(str(each.user) for each in events).items()}


def test_statements_do_not_grow_with_the_batch(django_assert_max_num_queries):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no round trips to save")
    keys = make_keys(30)
    with django_assert_max_num_queries(15):  # with BEGIN and COMMIT, and six tables of sums
        events = [event(key=keys[number % 30], user=number, tags=(f"t{number}",)) for number in range(300)]
        write_events(events, Position("a", 1))
