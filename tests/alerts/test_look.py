"""F104, F108: a budget or its soft threshold that was reached is found once for each period, from the ledger alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from keys.models import GlobalLimits, Team
from tests.kit.rows import make_key, make_project
from tests.kit.spent import spend
from usage.alerts import look as look_module
from usage.alerts.alert import Alert, AlertDelivery
from usage.alerts.look import look
from usage.alerts.tasks import look_for_alerts
from usage.ledger.totals import EVER
from usage.models import ScopeTotal

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def alerts_sent() -> list[tuple[str, str, str]]:
    """Level, scope and name of each alert, the oldest first."""
    return list(Alert.objects.order_by("id").values_list("level", "kind", "name"))


def test_a_threshold_and_then_the_budget_are_told_once_each():
    key = make_key("reports", budget=Decimal(1))
    spend("0.79", key=key.pk)
    assert look_for_alerts() == 0
    spend("0.01", key=key.pk)
    assert look_for_alerts() == 1
    spend("0.05", key=key.pk)
    assert look_for_alerts() == 0
    spend("0.15", key=key.pk)
    assert look_for_alerts() == 1
    spend("5", key=key.pk)
    assert look_for_alerts() == 0
    assert alerts_sent() == [("threshold", "key", "reports"), ("budget", "key", "reports")]
    alert = Alert.objects.first()
    assert alert is not None
    assert (alert.spent_usd, alert.limit_usd, alert.budget_usd) == (Decimal(1), Decimal(1), Decimal(1))
    assert (alert.period, alert.period_start, alert.period_end) == ("total", None, None)


def test_both_are_told_where_one_request_reaches_both():
    key = make_key(budget=Decimal(1))
    spend("3", key=key.pk)
    assert look_for_alerts() == 2


@pytest.mark.parametrize("kind", ["key", "user", "team", "project", "global"])
def test_every_scope_that_has_a_budget_is_looked_at(kind: str):
    user = User.objects.create_user("ann")
    team = Team.objects.create(name="t")
    project = make_project("p")
    key = make_key("k", owner=user, team=team, project=project)
    rows: dict[str, Any] = {"key": key, "user": user.account, "team": team, "project": project}
    rows.get(kind, GlobalLimits.current()).change(budget=Decimal(1), period="month")
    spend("0.9", key=key.pk, user=user.pk, team=team.pk, project=project.pk)
    assert look_for_alerts() == 1
    name = {"key": "k", "user": "ann", "team": "t", "project": "p", "global": "this gateway"}[kind]
    assert alerts_sent() == [("threshold", kind, name)]
    assert Alert.objects.get().user_id == (user.pk if kind in ("key", "user") else None)


def test_a_new_period_is_told_anew():
    key = make_key(budget=Decimal(1), period="day")
    for day in range(3):
        at = NOON + timedelta(days=day)
        spend("0.9", key=key.pk, at=at)
        assert look(at) == 1
        assert look(at + timedelta(hours=2)) == 0
    assert [alert.period_start for alert in Alert.objects.order_by("id")] == [
        NOON.replace(hour=0) + timedelta(days=day) for day in range(3)
    ]


def test_what_a_period_ended_with_is_told_in_the_next_one():
    """A request just before midnight is in the ledger just after it."""
    key = make_key(budget=Decimal(1), period="day")
    midnight = NOON.replace(hour=0)
    spend("0.9", key=key.pk, at=midnight - timedelta(seconds=1))
    spend("0.5", key=key.pk, at=midnight + timedelta(seconds=1))
    assert look(midnight + timedelta(seconds=2)) == 1
    alert = Alert.objects.get()
    assert (alert.period_end, alert.spent_usd) == (midnight, Decimal("0.9"))


def test_a_raised_budget_is_told_when_it_is_reached_too():
    key = make_key(budget=Decimal(1))
    spend("1", key=key.pk)
    assert look_for_alerts() == 2
    key.change(budget=Decimal(2))
    assert look_for_alerts() == 0
    spend("0.6", key=key.pk)
    assert look_for_alerts() == 1
    key.change(budget=Decimal(1))
    assert look_for_alerts() == 0, "those amounts were told in this period"


def test_a_budget_lowered_below_what_is_spent_is_told_though_nothing_moves():
    key = make_key(budget=Decimal(10))
    spend("5", key=key.pk)
    assert look_for_alerts() == 0
    key.change(budget=Decimal(4))
    assert look_for_alerts() == 2


def test_a_budget_set_on_what_was_spent_long_ago_is_told():
    key = make_key()
    spend("5", key=key.pk)
    assert look_for_alerts() == 0
    key.change(budget=Decimal(4))
    assert look_for_alerts() == 2


@pytest.mark.parametrize(
    "limits, levels",
    [
        ({"budget": Decimal(0)}, []),
        ({"budget": Decimal(1), "soft_threshold": Decimal(0)}, ["budget"]),
        ({"budget": Decimal(1), "soft_threshold": Decimal(1)}, ["budget"]),
        ({"budget": Decimal(1), "soft_threshold": Decimal("0.5")}, ["threshold", "budget"]),
    ],
)
def test_limits_of_nothing_are_not_told_and_a_threshold_of_all_is_the_budget(limits: Any, levels: list[str]):
    key = make_key(**limits)
    spend("1", key=key.pk)
    look_for_alerts()
    assert [level for level, _, _ in alerts_sent()] == levels


def test_where_nothing_moved_one_question_is_asked():
    for number in range(5):
        key = make_key(f"k{number}", budget=Decimal(1))
        spend("0.9", key=key.pk)
    look_for_alerts()
    with CaptureQueriesContext(connection) as queries:
        assert look_for_alerts() == 0
    assert len(queries) == 1


def test_the_question_what_moved_is_answered_by_its_index():
    moved = ScopeTotal.objects.filter(slot=EVER, unseen=True).order_by("kind", "ident")
    assert connection.vendor != "sqlite" or "total_unseen" in moved.explain()


def test_many_scopes_take_few_questions_each_time():
    for number in range(40):
        key = make_key(f"k{number}", budget=Decimal(1))
        spend("0.9", key=key.pk)
    look_for_alerts()
    for key_id in ScopeTotal.objects.filter(kind="key", slot=EVER).values_list("ident", flat=True):
        spend("0.001", key=int(key_id))
    with CaptureQueriesContext(connection) as queries:
        assert look_for_alerts() == 0
    assert len(queries) < 15


def test_what_moves_while_it_is_looked_at_is_looked_at_again(monkeypatch: pytest.MonkeyPatch):
    key = make_key(budget=Decimal(1))
    spend("0.5", key=key.pk)
    real = look_module._look_at

    def while_another_request_ends(*args: Any) -> int:
        made = real(*args)
        if args[0] == "key":
            spend("0.4", key=key.pk)
        return made

    monkeypatch.setattr(look_module, "_look_at", while_another_request_ends)
    assert look_for_alerts() == 0
    monkeypatch.setattr(look_module, "_look_at", real)
    assert look_for_alerts() == 1


def test_a_crash_before_the_mark_is_taken_away_tells_nothing_twice(monkeypatch: pytest.MonkeyPatch, webhook: Any):
    key = make_key(budget=Decimal(1))
    spend("0.9", key=key.pk)
    with monkeypatch.context() as crash:
        crash.setattr(look_module, "_mark_seen", lambda _: (_ for _ in ()).throw(SystemExit()))
        with pytest.raises(SystemExit):
            look_for_alerts()
    assert look_for_alerts() == 0
    assert (Alert.objects.count(), AlertDelivery.objects.count()) == (1, 1)


def test_who_comes_second_in_the_same_moment_makes_no_second_row(monkeypatch: pytest.MonkeyPatch, webhook: Any):
    key = make_key(budget=Decimal(1))
    spend("0.9", key=key.pk)
    look_for_alerts()
    monkeypatch.setattr(
        look_module, "_existing_identities", lambda *_: set()
    )  # it had looked before the first one wrote
    spend("0.01", key=key.pk)
    assert look_for_alerts() == 0
    assert (Alert.objects.count(), AlertDelivery.objects.count()) == (1, 1)


def test_where_nobody_has_a_budget_nobody_is_told():
    spend("1000", key=make_key().pk)
    assert look_for_alerts() == 0
