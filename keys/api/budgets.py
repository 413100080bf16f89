"""`GET /api/usage/budgets`: where every budget stands, over keys, users, teams and projects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from keys.api.permissions import SignedIn
from keys.models import Account, GlobalLimits, Limited, Period, Project, Team, VirtualKey
from keys.spending import Spending, spending_of
from shown.money import machine
from strict.queries import StrictView

MAX_PAGE_SIZE = 500


class Budgeted(NamedTuple):
    """A kind of row that can have a budget.

    `own`: the field that narrows its rows to a user's; None: for operators only.
    """

    rows: Callable[[], QuerySet[Any]]
    own: str | None
    name: Callable[[Any], str]

    @property
    def permission(self) -> str:
        return f"keys.view_{self.rows().model._meta.model_name}"


BUDGETED = {
    "global": Budgeted(GlobalLimits.objects.all, None, lambda row: "this gateway"),
    "key": Budgeted(lambda: VirtualKey.objects.filter(revoked_at__isnull=True), "owner", lambda row: row.name),
    "project": Budgeted(Project.objects.all, None, lambda row: row.name),
    "team": Budgeted(Team.objects.all, "members", lambda row: row.name),
    "user": Budgeted(lambda: Account.objects.select_related("user"), "user", lambda row: row.user.username),
}
"""The kinds, in the order in which answers list them."""

CURSOR = r"^(global|key|project|team|user)-[0-9]{1,18}$"


class BudgetsQuery(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=list(BUDGETED), required=False, help_text="Default: all of them.")
    page_size = serializers.IntegerField(default=100, min_value=1, max_value=MAX_PAGE_SIZE)
    cursor = serializers.RegexField(CURSOR, required=False, max_length=40, help_text="From `next`.")


class BudgetSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=list(BUDGETED))
    id = serializers.IntegerField(help_text="Of a user: the number that keys name as owner.")
    name = serializers.CharField()
    period = serializers.ChoiceField(choices=Period.choices)
    budget = serializers.DecimalField(max_digits=13, decimal_places=6)
    spent = serializers.DecimalField(max_digits=22, decimal_places=12, help_text="In this period.")
    remaining = serializers.DecimalField(max_digits=22, decimal_places=12, help_text="Never below 0.")
    percent = serializers.FloatField(help_text="Of the budget that is spent.")
    soft_threshold = serializers.DecimalField(max_digits=4, decimal_places=3, normalize_output=True)
    crossed = serializers.ChoiceField(
        choices=["soft_threshold", "budget"], allow_null=True, help_text="The last of them that was reached."
    )
    resets_at = serializers.DateTimeField(allow_null=True, help_text="Null: never.")


class BudgetsSerializer(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null.")
    results = BudgetSerializer(many=True)


class BudgetsView(StrictView, APIView):
    """Every budget, and how much of it is spent in its period, by the same numbers by which requests are refused.

    Users see the budgets of their keys, their own, and those of their teams.
    """

    query: ClassVar = {"get": BudgetsQuery}
    permission_classes: Sequence[type[BasePermission]] = (SignedIn,)

    @extend_schema(operation_id="usage_budgets", parameters=[BudgetsQuery], responses=BudgetsSerializer)
    def get(self, request: Request) -> Response:
        query = BudgetsQuery(data=request.query_params.dict())  # a dict: DRF drops blank values of a form
        query.is_valid(raise_exception=True)
        parameters = query.validated_data
        kinds = [parameters["kind"]] if "kind" in parameters else list(BUDGETED)
        rows, last = page_of(request.user, kinds, parameters.get("cursor"), parameters["page_size"])
        following = replace_query_param(request.build_absolute_uri(), "cursor", last) if last else None
        document = {"next": following, "previous": None, "results": render_rows(rows, timezone.now())}
        return Response(BudgetsSerializer(document).data)


def page_of(user: Any, kinds: Sequence[str], after: str | None, size: int) -> tuple[list[tuple[str, Any]], str | None]:
    """Rows with their kinds, and the cursor behind the last row if more follow."""
    last_kind, _, last_id = (after or "-0").partition("-")
    rows: list[tuple[str, Any]] = []
    for kind in kinds:
        if kind < last_kind:
            continue
        visible = visible_to(user, kind).filter(budget__isnull=False).order_by("pk")
        if kind == last_kind:
            visible = visible.filter(pk__gt=int(last_id))
        rows += [(kind, row) for row in visible[: size + 1 - len(rows)]]
        if len(rows) > size:
            its_kind, row = rows[size - 1]
            return rows[:size], f"{its_kind}-{row.pk}"
    return rows, None


def visible_to(user: Any, kind: str) -> QuerySet[Any]:
    budgeted = BUDGETED[kind]
    rows = budgeted.rows()
    if user.is_staff and user.has_perm(budgeted.permission):
        return rows
    return rows.filter(**{budgeted.own: user.pk}) if budgeted.own else rows.none()


def render_rows(rows: Sequence[tuple[str, Limited]], now: datetime) -> list[dict[str, Any]]:
    """Render rows. It asks the ledger once for each kind."""
    spending: dict[str, dict[int, Spending]] = {
        kind: spending_of([row for its_kind, row in rows if its_kind == kind], now)
        for kind in {kind for kind, _ in rows}
    }
    return [render_row(kind, row, spending[kind][row.pk]) for kind, row in rows]


def render_row(kind: str, row: Any, spending: Spending) -> dict[str, Any]:
    crossed = None
    if spending.spent >= row.budget:
        crossed = "budget"
    elif spending.spent >= row.budget * row.soft_threshold:
        crossed = "soft_threshold"
    return {
        "kind": kind,
        "id": row.pk,
        "name": BUDGETED[kind].name(row),
        "period": row.period,
        "budget": row.budget,
        "spent": machine(spending.spent),
        "remaining": machine(spending.remaining),
        "percent": spending.percent_of(row.budget),
        "soft_threshold": row.soft_threshold,
        "crossed": crossed,
        "resets_at": spending.resets_at,
    }
