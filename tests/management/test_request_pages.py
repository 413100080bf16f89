"""Lists of the ledger: every row once, in order, however sparse they are and however short the patience."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection, transaction

from tests.kit.events import NOW, request_id_at
from tests.kit.rows import make_record
from usage.ledger import partitions, walk

HOUR = timedelta(hours=1)
LIST = "/admin/usage/requestrecord/"


def make(*hours_ago: float, **fields: object) -> list[str]:
    """Rows so many hours old, newest first. Returns their ids."""
    moments = [NOW - hours * HOUR for hours in sorted(hours_ago)]
    return [make_record(request_id_at(moment), created_at=moment, **fields).pk for moment in moments]


def followed(api, path: str, link: str = "next") -> list[list[str]]:
    pages = []
    while path:
        answer = api.get(path)
        assert answer.status_code == 200, answer.json()
        pages.append([row["id"] for row in answer.json()["results"]])
        path = answer.json()[link]
        assert len(pages) < 500
    return pages


def flat(pages: list[list[str]]) -> list[str]:
    return [row for page in pages for row in page]


@pytest.fixture
def rows(db) -> list[str]:
    """In one hour, in two days, and with ids of other kinds."""
    for other in ("r1", "zz"):
        make_record(other)
    return ["zz", *sorted(make(0, 0.1, 0.2, 0.2, 5, 40, 41.5), reverse=True), "r1"]


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("budget_s", [60, 0])
def test_every_row_once_and_in_order_there_and_back(api, rows, monkeypatch, size, budget_s):
    monkeypatch.setattr(walk, "BUDGET_S", budget_s)
    monkeypatch.setattr(walk, "TIMEOUT_MS", 60_000)
    pages = followed(api, f"/api/requests?page_size={size}")
    assert flat(pages) == rows
    assert all(len(page) <= size for page in pages)
    if budget_s:
        assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    last = api.get(f"/api/requests?page_size={size}").json()
    while last["next"]:
        last = api.get(last["next"]).json()
    if last["previous"]:
        back = followed(api, last["previous"], "previous")
        assert flat(back[::-1]) == rows[: len(rows) - len(last["results"])]


def test_a_page_that_is_cut_short_goes_on_from_there(api, db, monkeypatch):
    """Without time, a page looks at one hour."""
    monkeypatch.setattr(walk, "BUDGET_S", 0)
    new, near, far = (*make(0), *make(10, model="rare"), *make(30, model="rare"))
    first = api.get("/api/requests?model=rare").json()
    assert (first["results"], bool(first["next"])) == ([], True)
    assert flat(followed(api, "/api/requests?model=rare")) == [near, far]
    assert flat(followed(api, "/api/requests")) == [new, near, far]


def test_a_search_within_a_time_begins_and_ends_there(api, db, monkeypatch):
    monkeypatch.setattr(walk, "BUDGET_S", 0)
    _, wanted, _ = (*make(0), *make(50), *make(90))
    since, until = (quoted(NOW - hours * HOUR) for hours in (50.3, 49.6))
    pages = followed(api, f"/api/requests?created_after={since}&created_before={until}")
    assert flat(pages) == [wanted]
    assert len(pages) == 1


def quoted(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_an_id_that_is_not_there_is_not_looked_for_among_models(api, rows, monkeypatch):
    monkeypatch.setattr(walk, "BUDGET_S", 0)
    assert followed(api, f"/api/requests?search={request_id_at(NOW)}") == [[]]


def test_the_admin_says_how_far_it_looked_and_goes_on_from_there(admin, db, monkeypatch):
    monkeypatch.setattr(walk, "BUDGET_S", 0)
    make(0)
    (far,) = make(2, provider="rare")
    path: str | None = f"{LIST}?provider=rare"
    looked = 0
    while path and looked < 50:
        page = admin.get(path).content.decode()
        looked += 1
        if far in page:
            break
        further = re.search(r'<a href="([^"]*)">Look further back', page)
        path = LIST + unescape(further[1]) if further else None
    assert path
    assert looked > 1


def test_the_admin_says_nothing_where_it_has_seen_all(admin, rows):
    assert "Look further back" not in admin.get(f"{LIST}?provider=rare").content.decode()


# --- PostgreSQL's patience ---------------------------------------------------------------------------------
@pytest.fixture
def locked(transactional_db, monkeypatch) -> Iterator[None]:
    """Somebody else has the table for themselves."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite ends no query")
    monkeypatch.setattr(walk, "FIRST_TIMEOUT_MS", 50)
    is_locked, may_end = threading.Event(), threading.Event()

    def lock() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {partitions.TABLE} IN ACCESS EXCLUSIVE MODE")
                is_locked.set()
                may_end.wait(30)
        finally:
            is_locked.set()
            connection.close()

    other = threading.Thread(target=lock)
    other.start()
    assert is_locked.wait(30)
    yield
    may_end.set()
    other.join()


def test_a_database_that_does_not_answer_is_503(api, locked):
    answer = api.get("/api/requests")
    assert (answer.status_code, answer.json()["code"]) == (503, "too_slow")
    assert "created_after" in answer.json()["detail"]


def test_and_in_the_admin(admin, locked):
    assert admin.get(LIST).status_code == 503
