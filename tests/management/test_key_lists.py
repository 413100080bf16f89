from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from keys.models import VirtualKey
from tests.kit.rows import make_key, make_project


def names(answer):
    assert answer.status_code == 200, answer.json()
    assert set(answer.json()) == {"next", "previous", "results"}
    return [row["name"] for row in answer.json()["results"]]


@pytest.fixture
def keys(make_user):
    past = timezone.now() - timedelta(days=1)
    make_key("plain", tags=["ci", "blue"], owner=make_user(name="owner"))
    make_key("off", is_active=False, project=make_project("other"))
    make_key("old", expires_at=past, tags=["blue-green"])
    make_key("off and old", expires_at=past, is_active=False)
    make_key("gone", expires_at=past, tags=['q"uote']).revoke()


@pytest.mark.parametrize(
    "query,expected",
    [
        ("", ["gone", "off and old", "old", "off", "plain"]),
        ("status=active", ["plain"]),
        ("status=inactive", ["off and old", "off"]),
        ("status=expired", ["old"]),
        ("status=revoked", ["gone"]),
        ("tag=blue", ["plain"]),
        ("tag=blue-green", ["old"]),
        ("tag=q%22uote", ["gone"]),
        ("tag=none", []),
        ("project=other", ["off"]),
        ("search=OFF", ["off and old", "off"]),
        ("name=off", ["off"]),
        ("project=default&status=active", ["plain"]),
    ],
)
def test_keys_are_filtered(api, keys, query, expected):
    assert names(api.get(f"/api/keys?{query}")) == expected


def test_every_row_has_the_status_that_it_is_found_by(api, keys):
    for status in ("active", "inactive", "expired", "revoked"):
        rows = api.get(f"/api/keys?status={status}").json()["results"]
        assert {row["status"] for row in rows} == {status}


def test_keys_are_filtered_by_owner_and_project_id(api, keys):
    row = api.get("/api/keys?name=plain").json()["results"][0]
    assert names(api.get(f"/api/keys?owner={row['owner']}")) == ["plain"]
    assert "off" not in names(api.get(f"/api/keys?project={row['project']}"))


@pytest.mark.parametrize(
    "query",
    [
        "status=dead",
        "project=nowhere",
        "owner=%00",
        "team=%00",
        "search=%00",
        "tag=%00",
        "name=%00",
        "project=%00",
    ],
)
def test_a_filter_that_does_not_fit_is_400(api, keys, query):
    assert api.get(f"/api/keys?{query}").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "owner=9999",
        "owner=nobody",
        "owner=usr_x",
        "owner=1e60",
        "owner=99999999999999999999999",
        "team=none",
        "search=" + "x" * 5000,
    ],
)
def test_a_filter_that_finds_nothing_is_no_error(api, keys, query):
    assert api.get(f"/api/keys?{query}").status_code == 200


def test_pages_lead_through_all_rows_and_back(api):
    for number in range(7):
        make_key(f"k{number}")
    first = api.get("/api/keys?page_size=3")
    second = api.get(first.json()["next"])
    third = api.get(second.json()["next"])
    assert names(first) + names(second) + names(third) == [f"k{number}" for number in reversed(range(7))]
    assert (first.json()["previous"], third.json()["next"]) == (None, None)
    assert names(api.get(third.json()["previous"])) == names(second)


def test_pages_keep_their_filter(api):
    for number in range(4):
        make_key(f"k{number}", tags=["odd"] if number % 2 else [])
    first = api.get("/api/keys?page_size=1&tag=odd")
    assert names(api.get(first.json()["next"])) == ["k1"]


def test_a_page_has_fifty_rows_unless_it_is_told_and_never_more_than_500(api):
    project = make_project()
    for number in range(52):
        make_key(f"k{number}", project=project)
    assert len(names(api.get("/api/keys"))) == 50
    assert len(names(api.get("/api/keys?page_size=100000"))) == 52


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5", "", "9" * 5000, "%00", "²"])
def test_a_page_size_that_is_no_number_is_400(api, size):
    answer = api.get(f"/api/keys?page_size={size}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["page_size"])


@pytest.mark.parametrize(
    "cursor",
    [
        *("x", "%00", "====", "cD14", "bz1hJnI9MSZwPTE=", "%F0%9F%98%80"),
        "cD0lMDA=",  # p=%00
        "cD0xLjVl",  # p=1.5e
        "bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk=",  # o=9999…
    ],
)
def test_a_broken_cursor_is_400_or_an_empty_page(api, cursor):
    make_key()
    assert api.get(f"/api/keys?cursor={cursor}").status_code in (200, 400)


def test_a_cursor_with_a_position_beyond_all_integers_is_no_error(api):
    make_key()
    assert api.get("/api/keys?cursor=cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5").status_code in (200, 400)


def test_a_list_takes_as_many_queries_for_many_rows_as_for_one(api, make_user, django_assert_max_num_queries):
    for number in range(20):
        make_key(f"k{number}", project=make_project(f"p{number}"), owner=make_user(name=f"u{number}"))
    with django_assert_max_num_queries(4):  # one, and the savepoint around the view
        assert len(names(api.get("/api/keys"))) == 20


def test_postgresql_knows_which_words_of_names_are_common(db):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no statistics of expressions; it walks")
    project = make_project()
    VirtualKey.objects.bulk_create(
        VirtualKey(name=f"Of customer {number}", project=project, public_id=str(number)) for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE keys_virtualkey")

    def expected(word: str) -> int:
        plan = json.loads(VirtualKey.objects.filter(name__icontains=word).explain(format="json"))
        return int(plan[0]["Plan"]["Plan Rows"])

    assert expected("customer") > 1_000
    assert expected("nobody") < 100
