"""The ledger in a superuser's browser."""

from __future__ import annotations

import pytest

from tests.kit.rows import make_key, make_record
from usage.ledger.paginator import CappedPaginator
from usage.models import RequestRecord

LIST = "/admin/usage/requestrecord/"


@pytest.fixture
def records(db):
    make_record("r1", correlation_id="mine", response_id="resp_1", key=make_key("ci"))
    make_record("r2", model="o4-mini", status_code=502, outcome="upstream_error", provider="other", stream=True)
    make_record("r3", key_id=999_999, project_id=999_999, status_code=429, outcome="refused")


def records_on(page):
    assert page.status_code == 200
    return [record for record in ("r3", "r2", "r1") if f"{LIST}{record}/change/" in page.content.decode()]


@pytest.mark.parametrize(
    "query,expected",
    [
        ("", ["r3", "r2", "r1"]),
        ("q=r1", ["r1"]),
        ("q=mine", ["r1"]),
        ("q=resp_1", ["r1"]),
        ("q=o4", ["r2"]),
        ("q=nothing", []),
        ("outcome__exact=refused", ["r3"]),
        ("status=5xx", ["r2"]),
        ("status=4xx", ["r3"]),
        ("provider=other", ["r2"]),
        ("stream__exact=1", ["r2"]),
        ("created_at__gte=2026-11-21+00:00:00%2B00:00", []),
    ],
)
def test_requests_are_searched_and_filtered(admin, records, query, expected):
    assert records_on(admin.get(f"{LIST}?{query}")) == expected


def test_a_request_is_shown_even_when_its_key_is_gone(admin, records):
    assert admin.get(f"{LIST}r3/change/").status_code == 200


def test_the_ledger_is_read_only(admin, records):
    page = admin.get(f"{LIST}r1/change/").content.decode()
    assert 'name="_save"' not in page
    assert admin.get(LIST + "add/").status_code == 403
    assert admin.post(f"{LIST}r1/change/", {"model": "x"}).status_code == 403
    assert admin.post(f"{LIST}r1/delete/", {"post": "yes"}).status_code == 403
    assert RequestRecord.objects.count() == 3


def test_counting_stops_at_the_cap(records, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr("usage.ledger.paginator.MOST_COUNTED", 2)
    with django_assert_num_queries(1):
        assert CappedPaginator(RequestRecord.objects.all(), 50).count == 2


def test_the_page_never_counts_the_ledger(admin, records, django_assert_max_num_queries):
    with django_assert_max_num_queries(30) as queries:
        admin.get(f"{LIST}?_facets=True")
    asked = [query["sql"] for query in queries.captured_queries if 'FROM "usage_requestrecord"' in query["sql"]]
    assert asked
    assert not [sql for sql in asked if "COUNT(" in sql]
    assert all("LIMIT" in sql or " IN (" in sql for sql in asked)
