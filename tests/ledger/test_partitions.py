"""PostgreSQL's weeks: made before they begin, and no row is refused where one is missing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction

from tests.kit.events import NOW, event, ids, places, written_ids
from usage.ledger import partitions
from usage.ledger.partitions import DEFAULT, WEEK, TableBusy, make_ahead, partition_of, week_of
from usage.ledger.write import write_events

pytestmark = pytest.mark.usefixtures("weekly")

THIS_WEEK = "usage_requestrecord_20261116"
NEXT_WEEK = "usage_requestrecord_20261123"


def test_this_week_and_the_next_four_are_made_once():
    assert make_ahead(NOW) == [
        f"usage_requestrecord_{day}" for day in (20261116, 20261123, 20261130, 20261207, 20261214)
    ]
    assert make_ahead(NOW) == []
    assert make_ahead(NOW + WEEK) == ["usage_requestrecord_20261221"]


def test_a_row_goes_where_its_id_says():
    make_ahead(NOW)
    monday = week_of(NOW)
    moments = [monday, monday + WEEK - timedelta(milliseconds=1), monday + WEEK]
    events = [event(moment) for moment in moments]
    write_events(events)
    assert [places()[each.id] for each in events] == [THIS_WEEK, THIS_WEEK, NEXT_WEEK]


def test_late_early_and_foreign_ids_are_written_all_the_same():
    make_ahead(NOW)
    odd = [event(NOW - 60 * WEEK), event(NOW + 60 * WEEK), event(id="of-another-kind"), event(id="zz")]
    write_events(odd)
    write_events(odd)
    assert places() == {each.id: DEFAULT for each in odd}


def test_rows_of_a_week_that_nobody_made_move_into_it():
    early = [event(NOW + timedelta(hours=hour)) for hour in range(3)]
    other = event(NOW - WEEK)
    write_events([*early, other])
    assert set(places().values()) == {DEFAULT}
    make_ahead(NOW)
    assert places() == {**{each.id: THIS_WEEK for each in early}, other.id: DEFAULT}
    write_events(early)
    assert written_ids() == ids([*early, other])


def test_of_two_that_make_them_at_once_one_does():
    def make() -> list[str]:
        try:
            return make_ahead(NOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        made = [*pool.submit(make).result(), *pool.submit(make).result()]
    assert len(made) == len(set(made)) == 5


def test_rows_are_written_while_their_week_is_made():
    batches = [[event(NOW + number * WEEK + timedelta(seconds=second)) for number in range(4)] for second in range(150)]
    some_are_there = threading.Event()

    def write() -> None:
        try:
            for number, batch in enumerate(batches):
                write_events(batch)
                if number == 10:
                    some_are_there.set()
        finally:
            some_are_there.set()
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        some_are_there.wait(30)
        assert len(make_ahead(NOW)) == 5
        writing.result()
    assert written_ids() == ids([each for batch in batches for each in batch])
    assert DEFAULT not in places().values()


def test_a_table_in_use_is_left_alone_and_tried_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(partitions, "TRIES", 2)
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT_MS", 50)
    in_use, may_end = threading.Event(), threading.Event()

    def use() -> None:
        try:
            with transaction.atomic():
                write_events([event()])
                in_use.set()
                may_end.wait(30)
        finally:
            in_use.set()
            connection.close()

    user = threading.Thread(target=use)
    user.start()
    try:
        assert in_use.wait(30)
        with pytest.raises(TableBusy, match="nothing was changed"):
            make_ahead(NOW)
    finally:
        may_end.set()
        user.join()
    assert partitions.partitions() == []
    assert len(make_ahead(NOW)) == 5
    assert set(places().values()) == {THIS_WEEK}


def test_a_partition_that_somebody_made_by_hand_is_respected():
    fortnight = partition_of(week_of(NOW))._replace(end=partition_of(week_of(NOW) + WEEK).end, name="by_hand")
    partitions.make(fortnight)
    assert len(make_ahead(NOW)) == 3
    write_events([late := event(NOW + WEEK)])
    assert places() == {late.id: "by_hand"}
