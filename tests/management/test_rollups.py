"""The sums by hour and day: always what the ledger says."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from tests.kit.rows import make_record
from usage.event import RequestEvent
from usage.ledger.write import write_events
from usage.models import (
    DayKindRollup,
    DayModelRollup,
    DayRollup,
    HourKindRollup,
    HourModelRollup,
    HourRollup,
    RequestRecord,
    TagSet,
)
from usage.rollups.check import check_day
from usage.rollups.from_ledger import tags_of
from usage.rollups.state import SUMS
from usage.rollups.tags import tags_id
from usage.tasks import check_rollups

pytestmark = pytest.mark.django_db

ALL = (HourRollup, HourModelRollup, HourKindRollup, DayRollup, DayModelRollup, DayKindRollup)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def event(number, at=NOON, **fields):
    given = {
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "outcome": "complete",
        "duration_ms": 12.345,
        "key": 1,
        "project": 1,
        "provider": "up",
        "model": "m",
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "cost_picousd": 1_000_003,
        "ttft_ms": 1.5,
        "requests": 1,
    }
    return RequestEvent(id=f"r{number}", at=at, **{**given, **fields})


MIXED = [
    event(0),
    event(1, at=NOON + 3599.999999, user=5, team=2, cached_tokens=2, reasoning_tokens=1),
    event(2, at=NOON + 3600),
    event(3, at=NOON + 43_199.9999997, model="other"),  # which is midnight, to the microsecond
    event(4, at=NOON - 86_400, outcome="upstream_error", prompt_tokens=None, completion_tokens=None, ttft_ms=None),
    event(5, outcome="refused", key=None, project=None, provider="", model="", cost_picousd=0),
    event(6, cost_picousd=None, cache="HIT"),
    event(7, outcome="internal_error", cache="BYPASS"),
    event(8, cache="JOINED", model="mödel'"),
    event(9, tags=("red", "blue")),
    event(10, tags=("blue", "red", "blue")),
    event(11, tags=("blue",)),
    event(12, at=NOON - 3600, tags=("ünï'", 'a"b', "x" * 5_000)),
]


def sums_of_the_ledger(length):
    """By Python, from the rows as they were read; `length` is of the ISO text that tells hours or days apart."""
    found: Any = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for row in RequestRecord.objects.all():
        at = row.created_at.astimezone(UTC).isoformat()[:length]
        numbers = (row.project_id or 0, row.key_id or 0, row.user_id or 0, row.team_id or 0)
        sums = found[at, *numbers, row.provider, row.model, tags_id(tuple(row.tags))]
        sums["requests"] += 1
        sums["errors"] += row.outcome in ("upstream_error", "internal_error")
        sums["refused"] += row.outcome == "refused"
        sums["cache_hits"] += row.cache in ("HIT", "JOINED")
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost_picousd"):
            sums[name] += getattr(row, name) or 0
        sums["unpriced"] += row.cost_picousd is None
        sums["duration_us"] += round(row.duration_ms * 1000)
        sums["ttft_us"] += round((row.ttft_ms or 0) * 1000)
        sums["ttft_requests"] += row.ttft_ms is not None
    return dict(found)


def added_up(rows):
    """By models, and by kinds."""
    by_models: Any = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    by_kinds: Any = defaultdict(lambda: dict.fromkeys(SUMS, 0))
    for (at, project, _, user, team, provider, model, tags), sums in rows.items():
        kinds = [by_kinds[at, *one] for one in (("project", project), ("user", user), ("team", team), ("tags", tags))]
        for total in (by_models[at, provider, model], *kinds):
            for name in SUMS:
                total[name] += sums[name]
    return dict(by_models), dict(by_kinds)


def sums_of(model, length):
    return {
        (row.at.astimezone(UTC).isoformat()[:length], *[getattr(row, name) for name in model.place[1:]]): {
            name: getattr(row, name) for name in SUMS
        }
        for row in model.objects.all()
    }


def are_the_ledgers():
    sets = {tuple(sorted(set(row.tags))) for row in RequestRecord.objects.all()} - {()}
    for length, (model, of_models, of_kinds) in {13: ALL[:3], 10: ALL[3:]}.items():
        by_models, by_kinds = added_up(sums_of(model, length))
        if (sums_of(of_models, length), sums_of(of_kinds, length)) != (by_models, by_kinds):
            return False
    return (
        sums_of(HourRollup, 13) == sums_of_the_ledger(13)
        and sums_of(DayRollup, 10) == sums_of_the_ledger(10)
        and {tuple(row.tags): row.pk for row in TagSet.objects.all()} == {tags: tags_id(tags) for tags in sets}
    )


def checked(*options):
    try:
        call_command("rollups", *options)
    except CommandError:
        return False
    return True


def test_they_move_with_the_ledger():
    write_events(MIXED[:5])
    assert are_the_ledgers()
    write_events(MIXED[3:])  # some of them again
    assert RequestRecord.objects.count() == len(MIXED)
    assert are_the_ledgers()
    assert checked("check")


def test_a_late_event_moves_the_hour_in_which_it_happened():
    write_events([event(0), event(1, at=NOON - 30 * 86_400)])
    write_events([event(2, at=NOON - 30 * 86_400 + 60)])
    assert are_the_ledgers()
    assert DayRollup.objects.get(at__lt=datetime(2026, 11, 1, tzinfo=UTC)).requests == 2


@pytest.mark.parametrize("damaged", ALL)
def test_what_differs_is_told_and_mended(damaged, caplog, capsys):
    write_events(MIXED)
    damaged.objects.filter(at__date="2026-11-20").update(requests=100, cost_picousd=7)
    assert not checked("check")
    assert not are_the_ledgers(), "to look changes nothing"
    capsys.readouterr()
    call_command("rollups", "rebuild", "--json")
    assert [row["day"] for row in json.loads(capsys.readouterr().out)["differences"]] == ["2026-11-20"]
    assert "Rollups of 2026-11-20 lacked" in caplog.text
    assert are_the_ledgers()
    assert checked("check")


def test_equal_sets_of_tags_are_one():
    assert tags_id(("a", "b")) == tags_id(("b", "a", "b")) != tags_id(("ab",))
    assert tags_id(()) == 0 < tags_id(("",)) < 2**63
    assert tags_id(("red",)) == 8593952770437678188, "it stands in tables: it must never change"
    write_events(MIXED)
    assert TagSet.objects.count() == 3
    assert HourRollup.objects.get(tags_id=tags_id(("blue", "red"))).requests == 2


def test_a_set_of_tags_that_is_missing_is_told_and_mended(caplog):
    write_events(MIXED)
    TagSet.objects.filter(pk=tags_id(("blue", "red"))).delete()
    assert not checked("check")
    assert TagSet.objects.count() == 2, "to look changes nothing"
    assert "of 2026-11-20 lacked 0 requests and 0 picodollars, in 1 rows" in caplog.text
    assert checked("rebuild")
    assert are_the_ledgers()
    assert checked("check")


def test_tags_written_in_another_way_are_the_same():
    """By the ORM, which has other spaces and escapes, or from a backup."""
    write_events(MIXED)
    for number, tags in enumerate((["red", "blue"], ["ünï'", "x" * 5_000, 'a"b'], ["red", "red"])):
        make_record(f"by hand {number}", created_at=datetime.fromtimestamp(NOON, UTC), tags=tags)
    assert not checked("check")
    assert checked("rebuild")
    assert are_the_ledgers()


def test_tags_of_a_row_that_is_written_while_they_are_compared_are_not_missed(monkeypatch):
    write_events(MIXED)
    turns: list[Any] = []

    def and_then_one_comes(span):
        known = tags_of(span)
        if not turns:
            write_events([event(100, tags=("new",))])
        turns.append(span)
        return known

    monkeypatch.setattr("usage.rollups.check.tags_of", and_then_one_comes)
    assert check_day(datetime.fromtimestamp(NOON, UTC).date(), repair=True) is None
    assert len(turns) == 2
    assert are_the_ledgers()


def test_a_transaction_that_was_rolled_back_leaves_nothing_remembered():
    with transaction.atomic():
        write_events([event(1, tags=("red",))])
        transaction.set_rollback(True)
    assert not TagSet.objects.exists()
    write_events([event(1, tags=("red",))])
    assert are_the_ledgers()


def test_rows_that_nobody_added_up_are_found(capsys):
    write_events(MIXED)
    for model in (*ALL, TagSet):
        model.objects.all().delete()
    call_command("rollups", "rebuild")
    assert are_the_ledgers()


def test_rows_that_the_ledger_never_had_are_taken_away():
    write_events(MIXED)
    RequestRecord.objects.filter(pk__in=["r0", "r8"]).delete()
    call_command("rollups", "rebuild", "--since", "2026-11-20")
    assert are_the_ledgers()


def test_the_migration_adds_up_what_was_there_before():
    write_events(MIXED)
    for model in (*ALL, TagSet):
        model.objects.all().delete()
    name = next(name for app, name in MigrationLoader(None).disk_migrations if app == "usage" and "_rollups" in name)
    import_module(f"usage.migrations.{name}").add_up(None, connection.schema_editor())
    assert are_the_ledgers()


def test_what_retention_took_from_the_ledger_stays_in_the_sums():
    before = [event(number, at=NOON + number * 3600 - 3 * 86_400) for number in range(24)]
    write_events([*before, *[event(100 + number, at=NOON + number) for number in range(5)]])
    RequestRecord.objects.filter(pk__in=[f"r{number}" for number in range(20)]).delete()  # in the middle of a day
    DayRollup.objects.filter(at__date="2026-11-20").update(requests=1)
    call_command("rollups", "rebuild")
    assert sum(row.requests for row in DayRollup.objects.all()) == 24 + 5


def test_an_event_later_than_retention_takes_nothing_from_the_sums():
    write_events([event(number, at=NOON - number * 86_400) for number in range(10)])
    RequestRecord.objects.filter(pk__in=[f"r{number}" for number in range(5, 10)]).delete()
    write_events([event(20, at=NOON - 8 * 86_400)])
    HourRollup.objects.filter(at__date__gte="2026-11-18").update(requests=4)
    call_command("rollups", "rebuild")
    requests = {row.at.astimezone(UTC).day: row.requests for row in DayRollup.objects.all()}
    assert requests == {**dict.fromkeys(range(11, 21), 1), 12: 2}
    assert {row.requests for row in HourRollup.objects.filter(at__date__gte="2026-11-18")} == {1}


def test_the_nightly_task_mends_the_last_days():
    now = timezone.now().timestamp()
    write_events([event(1, at=now), event(2, at=now - 40 * 86_400)])
    HourRollup.objects.update(requests=9)
    assert check_rollups() == "1 day mended"
    assert sorted(HourRollup.objects.values_list("requests", flat=True)) == [1, 9]


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_lose_nothing_and_never_wait_in_a_circle():
    now = timezone.now().timestamp()

    def write(writer):
        try:
            for turn in range(5):
                events = [
                    event(f"{writer}-{turn}-{n}", now, key=n % 7, model=f"m{n % 5}", tags=(f"{turn}-{n % 11}", "all"))
                    for n in range(70)
                ]
                random.Random(writer).shuffle(events)
                write_events(events)
                check_rollups()
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert RequestRecord.objects.count() == 3 * 5 * 70
    assert TagSet.objects.count() == 5 * 11
    assert are_the_ledgers()
