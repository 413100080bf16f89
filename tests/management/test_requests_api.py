from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.kit.events import request_id_at
from tests.kit.rows import make_key, make_record
from usage.models import RequestRecord


def ids(answer):
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["results"]]


@pytest.fixture
def records(db):
    key = make_key("ci")
    make_record("r1", key=key, project=key.project, cost_picousd=1_200_000_000, tags=["a"])
    make_record("r2", status_code=429, outcome="refused", provider="", error="rate_limited", team_id=9)
    make_record("r3", stream=True, model="o4", response_id="resp_1", correlation_id="mine", user_id=7)
    make_record("r4", endpoint="/v1/embeddings", provider="other", created_at=datetime(2026, 11, 21, tzinfo=UTC))
    make_record("r5", key_id=999_999, project_id=999_999)
    return key


@pytest.mark.parametrize(
    "query,expected",
    [
        ("", ["r5", "r4", "r3", "r2", "r1"]),
        ("project=default", ["r1"]),
        ("provider=other", ["r4"]),
        ("model=o4", ["r3"]),
        ("status_code=429", ["r2"]),
        ("outcome=refused", ["r2"]),
        ("stream=true", ["r3"]),
        ("endpoint=/v1/embeddings", ["r4"]),
        ("response_id=resp_1", ["r3"]),
        ("response_id=resp_2", []),
        ("correlation_id=mine", ["r3"]),
        ("key=999999", ["r5"]),
        ("project=999999", ["r5"]),
        ("user=7", ["r3"]),
        ("user=8", []),
        ("team=9", ["r2"]),
        ("search=r3", ["r3"]),
        ("search=resp_1", ["r3"]),
        ("search=mine", ["r3"]),
        ("search=o", ["r3"]),
        ("search=gpt-4.1", ["r5", "r4", "r2", "r1"]),
        ("search=gpt-4.1&status_code=429", ["r2"]),
        ("search=nothing", []),
    ],
)
def test_requests_are_filtered(api, records, query, expected):
    assert ids(api.get(f"/api/requests?{query}")) == expected


MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    "query,expected",
    [
        ("created_after=2026-11-21T00:00:00Z", [2, 1]),
        ("created_after=2026-11-21T01:00:00%2B01:00", [2, 1]),
        ("created_before=2026-11-21T00:00:00Z", [0]),
        ("created_after=2026-11-21T00:00:00.000001Z", [2]),
        ("created_before=2026-11-21T00:00:00.000001Z", [1, 0]),
        ("created_after=2026-11-20T23:59:59.999Z&created_before=2026-11-21T00:00:00Z", [0]),
        ("created_after=2026-11-21T00:00:00Z&created_before=2026-11-21T00:00:00Z", []),
        ("created_after=0001-01-01T00:00:00Z&created_before=9999-12-31T23:59:59.999999Z", [2, 1, 0]),
        ("created_after=2026-11-22T00:00:00Z", []),
    ],
)
def test_requests_are_filtered_by_time_to_the_microsecond(api, db, query, expected):
    moments = [MIDNIGHT - timedelta(microseconds=1), MIDNIGHT, MIDNIGHT + timedelta(microseconds=1)]
    made = [make_record(request_id_at(moment), created_at=moment).pk for moment in moments]
    assert ids(api.get(f"/api/requests?{query}")) == [made[number] for number in expected]


def test_a_row_has_what_a_bill_and_a_search_need(api, records):
    row = api.get("/api/requests/r1").json()
    assert {field.name for field in RequestRecord._meta.fields} - {"cost_picousd", "saved_picousd"} <= set(row)
    assert (row["key"], row["key_name"], row["project_name"]) == (records.pk, "ci", "default")
    assert (row["cost_usd"], row["saved_usd"], row["tags"]) == ("0.001200000000", "0.000000000000", ["a"])


def test_a_row_outlives_its_key_and_project(api, records):
    row = api.get("/api/requests/r5").json()
    assert (row["key"], row["project"], row["key_name"], row["project_name"]) == (999_999, 999_999, None, None)


@pytest.mark.parametrize(
    "query",
    [
        *("key=x", "status_code=ok", "status_code=1e60", "outcome=fine", "created_after=yesterday", "model=%00"),
        *("key=9999999999999999999999", "created_after=0001-01-01T00:00:00%2B14:00", "project=%00", "response_id=%00"),
        "created_before=9999-12-31T23:59:59-14:00",
    ],
)
def test_a_filter_that_does_not_fit_is_400(api, records, query):
    assert api.get(f"/api/requests?{query}").status_code == 400


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_ledger_cannot_be_written(api, records, method):
    assert getattr(api, method)("/api/requests/r1", {}).status_code == 405
    assert getattr(api, method)("/api/requests", {}).status_code == 405


@pytest.mark.parametrize(
    "path", ["/api/requests/nil", "/api/requests/%00", "/api/requests/a%20b", "/api/requests/r1/x"]
)
def test_an_unknown_request_is_404(api, records, path):
    assert api.get(path).status_code == 404


def test_pages_go_by_the_id(api, records):
    first = api.get("/api/requests?page_size=2").json()
    assert ids(api.get(first["next"])) == ["r3", "r2"]
    assert api.get("/api/requests?cursor=cD0lMDA=").status_code == 400


def test_a_list_takes_a_query_for_each_table_and_two_for_its_ends(api, records):
    with CaptureQueriesContext(connection) as asked:
        ids(api.get("/api/requests"))
    assert len([query for query in asked.captured_queries if query["sql"].startswith("SELECT")]) <= 5


def test_the_response_id_is_looked_up_in_its_index(records):
    if connection.vendor == "postgresql":
        pytest.skip("a table of five rows is always read whole")
    from usage.ledger.api import RequestFilters

    found = RequestFilters({"response_id": "resp_1"}, queryset=RequestRecord.objects.all()).qs
    assert "request_by_response" in found.explain()
