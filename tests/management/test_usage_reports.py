"""`GET /api/usage`: what was used, by whom and for what, by hours and days."""

from __future__ import annotations

import csv
import io
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rest_framework.test import APIClient

from keys.models import Team
from tests.kit.rows import make_key, make_project
from usage.event import RequestEvent
from usage.ledger.write import write_events
from usage.models import DayRollup, HourKindRollup, HourModelRollup, HourRollup, TagSet

pytestmark = pytest.mark.django_db
WHOLE = {"from": "2026-11-01", "to": "2026-12-01"}


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Used:
    """`used("2026-11-02T10:00", key=1, cost=5)` writes requests into the ledger, or keeps them for `used.write()`."""

    def __init__(self) -> None:
        self._count = itertools.count()
        self._kept: list[RequestEvent] = []

    def __call__(self, moment: str, requests: int = 1, **fields: Any) -> None:
        self.keep(moment, requests, **fields)
        self.write()

    def keep(self, moment: str, requests: int = 1, **fields: Any) -> None:
        given = {"provider": "up", "model": "m", "prompt_tokens": 10, "completion_tokens": 2, **fields}
        common = ("POST", "/v1/chat/completions", 200, given.pop("outcome", "complete"), 2.5)
        told = {"cost_picousd": given.pop("cost", 1), "requests": 1, **given}
        for _ in range(requests):
            self._kept.append(RequestEvent(f"q{next(self._count)}", at(moment), *common, **told))

    def write(self) -> None:
        events, self._kept = self._kept, []
        write_events(events)


@pytest.fixture
def used(api):
    return Used()


def report_of(api, expect=200, **query):
    answer = api.get("/api/usage/", {**WHOLE, **query})
    assert answer.status_code == expect, answer.content
    return answer.json()


def table(report, *names):
    return [tuple(row[name] for name in names) for row in report["results"]]


def test_days_are_told_with_exact_sums(api, used):
    used("2026-11-02T10:00", requests=2, cost=1_500_000_000_001, ttft_ms=4.5)
    used("2026-11-02T23:59:59.999", cost=None, cached_tokens=4, reasoning_tokens=1)
    used("2026-11-03T00:00", outcome="refused", cost=0, cache="HIT")
    used("2026-11-03T01:00", outcome="upstream_error", cost=0)
    report = report_of(api)
    assert report["from"] == "2026-11-01T00:00:00+00:00"
    assert (report["period"], report["time_zone"], report["group_by"]) == ("day", "UTC", [])
    first: dict[str, Any] = {
        "requests": 3,
        "errors": 0,
        "refused": 0,
        "cache_hits": 0,
        "prompt_tokens": 30,
        "completion_tokens": 6,
    }
    first |= {"cached_tokens": 4, "reasoning_tokens": 1, "cost_usd": "3.000000000002", "unpriced_requests": 1}
    first |= {"average_duration_ms": 2.5, "average_ttft_ms": 4.5, "saved_tokens": 0, "saved_usd": "0.000000000000"}
    assert report["results"][0] == {"from": "2026-11-02T00:00:00+00:00", **first}
    second = report["results"][1]
    assert [second[name] for name in ("requests", "errors", "refused", "cache_hits")] == [2, 1, 1, 1]
    assert second["average_ttft_ms"] is None
    assert report["totals"]["cost_usd"] == "3.000000000002"
    assert report["totals"]["requests"] == 5


def test_groups_are_told_by_number_and_name(api, used, make_user):
    user, team, project = make_user("keys.view_team"), Team.objects.create(name="red"), make_project("blue")
    key = make_key("mine", owner=user, project=project)
    used("2026-11-02T10:00", key=key.pk, user=user.pk, team=team.pk, project=project.pk, cost=7)
    used("2026-11-02T10:00", key=10_000, cost=5)
    nouns = ("key", "user", "team", "project", "provider", "model")
    report = report_of(api, group_by=",".join(nouns), period="total")
    gone, mine = sorted(report["results"], key=lambda row: row["user"] or 0)
    assert [gone[noun] for noun in nouns] == [10_000, None, None, None, "up", "m"]
    assert gone["key_name"] is None
    assert [mine[noun] for noun in nouns] == [key.pk, user.pk, team.pk, project.pk, "up", "m"]
    names = [mine[f"{noun}_name"] for noun in nouns[:4]]
    assert names == ["mine", "ann", "red", "blue"]
    assert mine["cost_usd"] == "0.000000000007"


@pytest.mark.parametrize(
    "filters, expect",
    [
        ({"model": "a"}, 1),
        ({"provider": "up"}, 3),
        ({"provider": "down"}, 4),
        ({"key": 1}, 3),
        ({"team": 7}, 2),
        ({"team": "nobody's"}, 0),
        ({"project": "blue"}, 1),
        ({"key": 1, "model": "a"}, 1),
        ({"user": "nobody"}, 0),
    ],
)
def test_filters_narrow_rows_and_totals(api, used, filters, expect):
    project = make_project("blue")
    used("2026-11-02T10:00", model="a", key=1, project=project.pk)
    used("2026-11-02T10:00", model="b", key=1, requests=2, team=7)
    used("2026-11-02T10:00", provider="down", requests=4)
    report = report_of(api, **filters)
    assert report["totals"]["requests"] == expect
    assert sum(row["requests"] for row in report["results"]) == expect


def test_periods(api, used):
    for moment in ("2026-11-01T05:00", "2026-11-02T05:00", "2026-11-08T05:30", "2026-11-30T23:00"):
        used(moment)

    def told(period):
        return [(row["from"][:13], row["requests"]) for row in report_of(api, period=period)["results"]]

    assert told("total") == [("2026-11-01T00", 4)]
    assert told("month") == [("2026-11-01T00", 4)]
    assert told("week") == [("2026-10-26T00", 1), ("2026-11-02T00", 2), ("2026-11-30T00", 1)]
    assert told("day") == [(f"2026-11-{day}T00", 1) for day in ("01", "02", "08", "30")]
    assert told("hour") == [("2026-11-01T05", 1), ("2026-11-02T05", 1), ("2026-11-08T05", 1), ("2026-11-30T23", 1)]


def test_days_of_a_time_zone_are_exact_over_a_change_of_the_clock(api, used):
    query = {"from": "2026-10-24", "to": "2026-10-27", "time_zone": "Europe/Berlin"}
    used("2026-10-24T21:59")  # the 24th in Berlin, to its last minute
    used("2026-10-24T22:00", requests=2)
    used("2026-10-25T22:59", requests=2)  # a day of 25 hours
    used("2026-10-25T23:00", requests=8)
    report = report_of(api, **query)
    assert table(report, "from", "requests") == [
        ("2026-10-24T00:00:00+02:00", 1),
        ("2026-10-25T00:00:00+02:00", 4),
        ("2026-10-26T00:00:00+01:00", 8),
    ]
    assert len(report_of(api, **query, period="hour", fill="true")["results"]) == 24 + 25 + 24


def test_the_budgets_time_zone_is_the_default_where_there_are_sums_for_it(api, settings):
    settings.BUDGET_TIME_ZONE = "America/New_York"
    assert report_of(api)["time_zone"] == "America/New_York"
    assert report_of(api)["from"] == "2026-11-01T00:00:00-04:00"
    settings.BUDGET_TIME_ZONE = "Asia/Kolkata"
    assert report_of(api)["time_zone"] == "UTC"
    assert "middle of an hour" in str(report_of(api, 400, time_zone="Asia/Kolkata"))


def test_without_a_span_it_is_the_last_thirty_days(api, used):
    now = datetime.now(UTC)
    for days, requests in ((0, 1), (29, 2), (31, 4)):
        used((now - timedelta(days=days)).replace(tzinfo=None).isoformat(), requests=requests)
    report = api.get("/api/usage").json()
    assert report["totals"]["requests"] == 3
    assert datetime.fromisoformat(report["to"]) - datetime.fromisoformat(report["from"]) == timedelta(days=30)


def test_a_span_takes_the_hours_that_it_touches(api, used):
    for hour in range(5):
        used(f"2026-11-02T0{hour}:30")
    report = report_of(api, **{"from": "2026-11-02T01:10", "to": "2026-11-02T03:20"})
    assert (report["from"], report["to"]) == ("2026-11-02T01:00:00+00:00", "2026-11-02T04:00:00+00:00")
    assert report["totals"]["requests"] == 3
    assert table(report, "requests") == [(3,)]


def test_gaps_are_filled_where_that_is_asked_for(api, used):
    used("2026-11-02T10:00", model="a")
    used("2026-11-04T10:00", model="b")
    report = report_of(api, fill="true", group_by="model", **{"from": "2026-11-02", "to": "2026-11-05"})
    assert table(report, "model", "requests") == [("a", 1), ("b", 0), ("a", 0), ("b", 0), ("a", 0), ("b", 1)]
    assert len(report_of(api, fill="true")["results"]) == 30
    assert "more than 10,000" in str(report_of(api, 400, fill="true", period="hour", group_by="model", to="2027-08-01"))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("group_by", ["model,key", "team"])
@pytest.mark.parametrize("period", ["day", "total", "hour", "week"])
def test_pages_follow_each_other_without_a_gap(api, used, period, group_by, zone):
    for day in range(2, 11):
        for model in ("a", "b", "ü'", "", "-x"):
            for key in (None, 1, 2):
                team = None if key is None else key + len(model)
                used.keep(f"2026-11-{day:02}T{day * 2:02}:00", model=model, key=key, team=team)
    used.write()
    query = {"group_by": group_by, "period": period, "time_zone": zone}
    whole = report_of(api, **query, page_size=500)
    assert whole["next"] is None
    paged, answer = [], report_of(api, **query, page_size=3)
    while True:
        assert len(answer["results"]) <= 3
        assert answer["totals"] == whole["totals"]
        paged += answer["results"]
        if answer["next"] is None:
            break
        answer = api.get(answer["next"]).json()
    assert paged == whole["results"]


@pytest.mark.parametrize(
    "query",
    [
        {"group_by": "color"},
        {"group_by": "key,key"},
        {"period": "year"},
        {"from": "yesterday"},
        {"from": "2026-12-02"},
        {"from": "0001-01-01"},
        {"to": "9999-12-31T23:59:59"},
        {"to": "2026-11-31"},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../etc/passwd"},
        {"key": "x"},
        {"key": "0"},
        {"page_size": "0"},
        {"page_size": "501"},
        {"cursor": "x"},
        {"cursor": "WzFd"},
        {"cursor": "WyIyMDI2LTExLTAyIiwgMV0="},
        {"group_by": "model", "cursor": "WyIyMDI2LTExLTAyIiwgMV0="},
        {"model": "a\0b"},
        {"tag": "a\0b"},
        {"tag": "a" * 1001},
        {"group_by": "tag,model"},
    ],
)
def test_what_cannot_be_answered_is_refused(api, query):
    answer = api.get("/api/usage", {**WHOLE, **query})
    assert answer.status_code == 400, answer.content
    for as_csv in ({"format": "csv"}, {}):
        answer = api.get("/api/usage", {**WHOLE, **query, **as_csv})
        assert answer["Content-Type"] == "application/json"


@pytest.mark.parametrize("way", ["format", "accept"])
def test_a_file_has_all_lines_and_no_formula(api, used, monkeypatch, way):
    monkeypatch.setattr("usage.reports.api.LINES_AT_ONCE", 3)
    for model in ("=HYPERLINK(1)", "+1", "-1", "@x", "\tx", 'quote"d, and', "ünï", "plain"):
        used("2026-11-02T10:00", model=model, key=make_key(f"={model}").pk, cost=1_000_000)
    query = {**WHOLE, "group_by": "key,model", "period": "total"}
    if way == "format":
        answer = api.get("/api/usage", {**query, "format": "csv"})
    else:
        answer = api.get("/api/usage", query, HTTP_ACCEPT="text/csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [row["model"] for row in rows] == [
        *("'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\tx", 'quote"d, and', "ünï", "plain")
    ]
    assert {row["key_name"][:2] for row in rows} == {"'="}
    assert {row["cost_usd"] for row in rows} == {"0.000001000000"}


def test_users_see_what_was_used_with_their_own_keys(used, make_user):
    ann, bob = make_user(is_staff=False), make_user(name="bob", is_staff=False)
    used("2026-11-02T10:00", user=ann.pk)
    used("2026-11-02T10:00", user=bob.pk, requests=2)
    used("2026-11-02T10:00", requests=4)
    client = APIClient()
    client.force_login(ann)
    assert report_of(client)["totals"]["requests"] == 1
    assert report_of(client, user="bob")["totals"]["requests"] == 0
    assert report_of(client, user=bob.pk, group_by="user")["results"] == []
    file = client.get("/api/usage", {**WHOLE, "format": "csv", "group_by": "user"})
    assert len(b"".join(file).splitlines()) == 2


@pytest.mark.parametrize("group_by", ["model", "key", "team"])
def test_the_days_answer_where_they_can(api, used, group_by):
    used("2026-11-02T10:00")
    for model in (HourRollup, HourModelRollup, HourKindRollup):
        model.objects.all().delete()  # what the days know, nobody asks of the hours
    for period in ("day", "week", "month", "total"):
        report = report_of(api, period=period, group_by=group_by)
        assert report["totals"]["requests"] == report["results"][0]["requests"] == 1
    assert report_of(api, period="hour", group_by=group_by)["results"] == []


@pytest.mark.parametrize("period", ["week", "month", "total"])
@pytest.mark.parametrize("group_by", ["model", "key", "team"])
def test_the_days_within_a_span_of_another_time_zone_answer_for_it(api, used, period, group_by):
    query = {"from": "2026-10-12", "to": "2026-12-10", "time_zone": "Europe/Berlin", "group_by": group_by}
    expect: dict[str, int] = {}
    for number, moment in enumerate(
        datetime(2026, 10, 11, 20, 30, tzinfo=UTC) + timedelta(hours=hours) for hours in range(0, 60 * 24, 7)
    ):
        used.keep(moment.replace(tzinfo=None).isoformat(), requests=1 + number % 2)
        local = moment.astimezone(ZoneInfo("Europe/Berlin"))
        if "2026-10-12" <= local.date().isoformat() < "2026-12-10":
            day = local.date()
            if period == "week":
                day -= timedelta(days=day.weekday())
            first = day.isoformat() if period == "week" else day.isoformat()[:7] if period == "month" else "2026-10-12"
            expect[first] = expect.get(first, 0) + 1 + number % 2
    used.write()
    hours = report_of(api, **query, period="hour", page_size=500)
    report = report_of(api, **query, period=period)
    assert {row["from"][: len(min(expect))]: row["requests"] for row in report["results"]} == expect
    assert report["totals"] == hours["totals"]
    for model in (HourRollup, HourModelRollup, HourKindRollup):
        model.objects.filter(at__date="2026-10-20").delete()
    assert report_of(api, **query, period=period)["results"] == report["results"], "asked of the day"


def test_what_names_no_key_is_not_asked_of_all_keys(api, used):
    used("2026-11-02T10:00", key=1, tags=("red",))
    for model in (HourRollup, DayRollup):
        model.objects.all().delete()
    for query in (
        *({}, {"group_by": "provider,model"}, {"model": "m"}, {"group_by": "model", "period": "hour"}),
        *({"group_by": "team"}, {"group_by": "tag"}, {"tag": "red"}, {"user": "0", "group_by": "user"}),
    ):
        report = report_of(api, **query)
        assert report["totals"]["requests"] == report["results"][0]["requests"] == 1
    for query in ({"group_by": "key"}, {"group_by": "team,model"}, {"tag": "red", "group_by": "model"}, {"key": "1"}):
        assert report_of(api, **query)["results"] == []


def test_a_request_counts_for_each_of_its_tags(api, used):
    used("2026-11-02T10:00", requests=2, cost=5, tags=("red", "blue"), ttft_ms=1.5)
    used("2026-11-02T11:00", cost=0, tags=("blue", "red", "red"), outcome="refused")  # the same set
    used("2026-11-02T23:59", cost=7, tags=("red",), outcome="upstream_error")
    used("2026-11-04T10:00", cost=None)
    report = report_of(api, group_by="tag")
    told = table(report, "from", "tag", "requests", "errors", "cost_usd", "unpriced_requests")
    assert told == [
        ("2026-11-02T00:00:00+00:00", "blue", 3, 0, "0.000000000010", 0),
        ("2026-11-02T00:00:00+00:00", "red", 4, 1, "0.000000000017", 0),
        ("2026-11-04T00:00:00+00:00", "", 1, 0, "0.000000000000", 1),
    ]
    assert report["totals"] == report_of(api)["totals"]
    for period in ("hour", "week", "total"):
        assert report_of(api, group_by="tag", period=period)["totals"] == report["totals"]
    assert len(report_of(api, group_by="tag", fill="true")["results"]) == 3 * 30
    assert table(report_of(api, group_by="tag", period="total", model="m"), "tag") == [("",), ("blue",), ("red",)]
    file = api.get("/api/usage", {**WHOLE, "group_by": "tag", "format": "csv"})
    assert [row["tag"] for row in csv.DictReader(io.StringIO(b"".join(file).decode()))] == ["blue", "red", ""]
    assert "by itself" in str(report_of(api, 400, group_by="tag,key"))


def test_tags_are_told_for_any_span(api, used):
    used("2024-02-03T10:00", tags=("red",))
    used("2026-11-02T10:00", tags=("red",))
    query = {"group_by": "tag", "from": "2024-01-01", "to": "2027-01-01", "time_zone": "Europe/Berlin"}
    assert table(report_of(api, **query, period="total"), "tag", "requests") == [("red", 2)]
    assert [row["from"][:7] for row in report_of(api, **query, period="month")["results"]] == ["2024-02", "2026-11"]


def test_tags_come_in_pages(api, used):
    for day in range(2, 6):
        for tag in ("a", "b", "ü'", "-x"):
            used(f"2026-11-0{day}T10:00", tags=(tag, "all"))
    whole = report_of(api, group_by="tag", page_size=500)
    assert whole["next"] is None
    assert len(whole["results"]) == 4 * 5
    paged, answer = [], report_of(api, group_by="tag", page_size=3)
    while answer["next"]:
        assert len(answer["results"]) == 3
        assert answer["totals"] == whole["totals"]
        paged += answer["results"]
        answer = api.get(answer["next"]).json()
    assert paged + answer["results"] == whole["results"]
    assert "another question" in str(report_of(api, 400, group_by="tag", cursor="WyIyMDI2LTExLTAyIiwgMV0="))


def test_too_many_tags_for_one_answer_are_refused(api, used, monkeypatch):
    used("2026-11-02T10:00", tags=("a", "b", "c"))
    used("2026-11-02T10:00", tags=("a", "b"))
    assert len(report_of(api, group_by="tag", period="total")["results"]) == 3
    monkeypatch.setattr("usage.reports.sums.MOST_SETS", 1)
    assert "more than 1 sums of sets of tags" in str(report_of(api, 400, group_by="tag", period="total"))
    answer = api.get("/api/usage", {**WHOLE, "group_by": "tag", "format": "csv"})
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/json")


@pytest.mark.parametrize(
    "tag, expect", [("red", 3), ("blue", 6), ("", 8), ("re", 0), ("ünï'", 16), ('["red"', 0), ("all,of", 0)]
)
@pytest.mark.parametrize("group_by", ["", "key", "tag"])
def test_a_tag_narrows_every_report(api, used, tag, expect, group_by):
    used("2026-11-02T10:00", tags=("red",))
    used("2026-11-02T10:00", requests=2, tags=("red", "blue"))
    used("2026-11-02T10:00", requests=4, tags=("blue",), key=3)
    used("2026-11-02T10:00", requests=8)
    used("2026-11-02T10:00", requests=16, tags=("ünï'",))
    for period in ("hour", "total"):
        assert report_of(api, tag=tag, group_by=group_by, period=period)["totals"]["requests"] == expect
    if group_by == "":
        file = api.get("/api/usage", {**WHOLE, "tag": tag, "period": "total", "format": "csv"})
        assert sum(int(row["requests"]) for row in csv.DictReader(io.StringIO(b"".join(file).decode()))) == expect


def test_a_set_of_tags_that_is_missing_is_no_reason_to_answer_nothing(api, used):
    used("2026-11-02T10:00", tags=("red",))
    TagSet.objects.all().delete()
    assert table(report_of(api, group_by="tag"), "tag", "requests") == [("", 1)]


def test_users_see_the_tags_of_their_own_requests(used, make_user):
    ann, client = make_user(is_staff=False), APIClient()
    used("2026-11-02T10:00", user=ann.pk, tags=("mine",))
    used("2026-11-02T10:00", tags=("theirs",))
    client.force_login(ann)
    assert table(report_of(client, group_by="tag"), "tag") == [("mine",)]
