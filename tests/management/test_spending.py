"""F104: what is spent of a budget is shown wherever the budget is."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.ports import Ledger
from config.spending import spent_of
from keys.models import GlobalLimits, Team
from keys.ports import LEDGER
from tests.kit.rows import make_key, make_project, make_record
from tests.kit.spent import spend
from usage.ledger.totals import EVER
from usage.models import ScopeTotal
from usage.rollups.check import check

CENT = 10**10
"""In picodollars."""

asked: list[tuple[str, list[int]]] = []


class CentForEach(Ledger):
    def spent_of(self, kind, ids, now):
        asked.append((kind, list(ids)))
        return dict.fromkeys(ids, CENT)


@pytest.fixture
def spending():
    asked.clear()
    with LEDGER.filled(CentForEach()):
        yield


def cost(usd: str):
    """The ledger's column for it, in its unit."""
    return {"cost_picousd": int(Decimal(usd) * 10**12)}


@pytest.mark.parametrize("noun", ["keys", "projects", "teams"])
def test_a_list_asks_once_and_only_for_rows_with_a_budget(api, spending, noun):
    ids = [
        api.post(f"/api/{noun}", {"name": name, "budget": budget}).json()["id"]
        for name, budget in (("a", "1"), ("b", "0.005"), ("c", None))
    ]
    asked.clear()
    shown = {row["name"]: row for row in api.get(f"/api/{noun}").json()["results"]}
    assert asked == [(noun.removesuffix("s"), [ids[1], ids[0]])]
    assert [shown[name]["spent"] for name in "abc"] == ["0.010000000000", "0.010000000000", None]
    assert [shown[name]["remaining"] for name in "abc"] == ["0.990000000000", "0.000000000000", None]


def test_users_and_the_gateway_show_it_too(api, spending, make_user):
    for path in (f"/api/users/{make_user().account.public_id}", "/api/limits/global"):
        assert api.patch(path, {"budget": "1"}).json()["spent"] == "0.010000000000"
        assert api.get(path).json()["remaining"] == "0.990000000000"
    assert {kind for kind, _ in asked} == {"user", "global"}


def test_a_period_resets_at_midnight_where_the_budget_is(api, spending):
    made = api.post("/api/keys", {"name": "k", "budget": 1, "period": "day", "time_zone": "Asia/Tokyo"}).json()
    resets_at = datetime.fromisoformat(made["resets_at"])
    assert (resets_at.hour, resets_at.minute) == (15, 0)
    assert timedelta(0) < resets_at - timezone.now() <= timedelta(days=1)


def test_a_changed_period_counts_what_was_spent_in_the_new_one(api, db):
    """Defined, not refused: the ledger is what it was, and the budget is held against the period that now is."""
    key = make_key(budget=Decimal(10))
    spend("3", key=key.pk, at=timezone.now() - timedelta(days=40))
    spend("0.0000000001", key=key.pk)
    path = f"/api/keys/{key.pk}"
    assert api.get(path).json()["spent"] == "3.000000000100"
    assert api.patch(path, {"period": "month"}).json()["spent"] == "0.000000000100"
    assert api.patch(path, {"period": "total"}).json()["spent"] == "3.000000000100"


def test_a_budget_lowered_below_what_is_spent_has_nothing_remaining(api, db):
    key = make_key(budget=Decimal(10))
    spend("3", key=key.pk)
    shown = api.patch(f"/api/keys/{key.pk}", {"budget": "1"}).json()
    assert (shown["spent"], shown["remaining"]) == ("3.000000000000", "0.000000000000")
    usage = api.get(f"/api/keys/{key.pk}/usage").json()
    assert usage["percent_of_budget"] == 300.0


def test_the_ledger_is_summed_for_each_kind(db, make_user):
    owner, team, project = make_user(), Team.objects.create(name="t"), make_project()
    key = make_key(owner=owner, team=team, project=project)
    whose = {"key": key.pk, "user": owner.pk, "team": team.pk, "project": project.pk}
    for usd in ("0.1", "0.2", None):
        spend(usd, **whose)
    spend("5", key=make_key("other").pk, project=make_project("other").pk)
    GlobalLimits.current().change(rpm=1)
    now = timezone.now()
    for kind, pk in whose.items():
        assert spent_of(kind, [pk, pk + 999], now) == {pk: 30 * CENT}
    assert spent_of("global", [1], now) == {1: 530 * CENT}


def test_usage_of_a_key_by_model_over_some_days(api, db):
    key = make_key(budget=Decimal(10))
    now = timezone.now()
    make_record("a", key=key, created_at=now, prompt_tokens=10, completion_tokens=5, **cost("0.25"))
    make_record("b", key=key, created_at=now, prompt_tokens=20, completion_tokens=5, model="o4", **cost("0.5"))
    make_record("c", key=key, created_at=now, model="o4")
    make_record("refused", key=key, created_at=now, outcome="refused", status_code=429, cost_picousd=0)
    make_record("old", key=key, created_at=now - timedelta(days=8), prompt_tokens=1000, **cost("1"))
    make_record("another's", key=make_key("other"), created_at=now, prompt_tokens=9, **cost("9"))
    check(repair=True)
    ScopeTotal.objects.create(kind="key", ident=str(key.pk), slot=EVER, cost_picousd=175 * CENT)
    usage = api.get(f"/api/keys/{key.pk}/usage?days=7").json()
    assert usage["totals"] == {
        "requests": 3,
        "prompt_tokens": 30,
        "completion_tokens": 10,
        "total_tokens": 40,
        "cost_usd": "0.750000000000",
        "unpriced_requests": 1,
    }
    assert [(row["model"], row["requests"], row["total_tokens"]) for row in usage["by_model"]] == [
        ("o4", 2, 25),
        ("gpt-4.1-mini", 1, 15),
    ]
    assert usage["average_tokens_per_request"] == 13.33
    assert (usage["spent"], usage["remaining"], usage["percent_of_budget"]) == (
        "1.750000000000",
        "8.250000000000",
        17.5,
    )
    assert api.get(f"/api/keys/{key.pk}/usage").json()["totals"]["requests"] == 4


def test_a_key_that_nobody_used_has_usage_too(api, db):
    usage = api.get(f"/api/keys/{make_key().pk}/usage").json()
    assert (usage["totals"]["requests"], usage["by_model"], usage["average_tokens_per_request"]) == (0, [], 0)
    assert (usage["budget"], usage["spent"], usage["percent_of_budget"]) == (None, None, None)


@pytest.mark.parametrize("days", ["0", "366", "-1", "x", "1.5", "", "9" * 30, "²"])
def test_days_outside_a_year_are_400(api, db, days):
    assert api.get(f"/api/keys/{make_key().pk}/usage?days={days}").status_code == 400


@pytest.mark.parametrize("days", ["1", "365"])
def test_a_day_and_a_year_are_taken(api, db, days):
    assert api.get(f"/api/keys/{make_key().pk}/usage?days={days}").status_code == 200


@pytest.mark.parametrize("noun", ["keys", "projects", "teams", "users"])
def test_a_list_of_many_takes_as_many_queries_as_one_of_few(api, make_user, noun):
    def more(start):
        for number in range(start, start + 3):
            team, owner = Team.objects.create(name=f"t{number}", budget=1), make_user(name=f"u{number}")
            team.members.add(owner)
            make_key(f"k{number}", owner=owner, team=team, project=make_project(f"p{number}", budget=1), budget=1)
            owner.account.change(budget=1)

    def queries():
        with CaptureQueriesContext(connection) as found:
            assert api.get(f"/api/{noun}").status_code == 200
        return len(found)

    more(0)
    few = queries()
    more(10)
    assert queries() == few
