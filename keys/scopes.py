"""From rows to what admission knows of them."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings

from keys.limits.scope import Limits, Scope, Scopes, scope_of
from keys.models import COUNTS, Account, GlobalLimits, Limited, Project, Team, VirtualKey
from keys.models.usd import picousd


def limits_of(row: Limited) -> Limits:
    return Limits(
        **{name: getattr(row, name) for name in COUNTS},
        budget=None if row.budget is None else picousd(row.budget),
        period=row.period,
        soft_threshold=float(row.soft_threshold),
        time_zone=row.time_zone or settings.BUDGET_TIME_ZONE,
    )


def scopes_of_key(row: VirtualKey) -> Scopes:
    """The key, its owner, its team, its project, in this order; without those that have no limit at all."""
    account = account_of(row)
    scopes = (
        scope("key", row.pk, f"key {row.name!r}", row),
        # Whoever holds the key need not know its owner's name, which is an e-mail address as a rule.
        scope("user", row.owner_id, f"user {account.public_id}", account) if account is not None else None,
        scope("team", row.team_id, f"team {row.team.name!r}", row.team) if row.team is not None else None,
        project_scope(row.project),
    )
    return tuple(each for each in scopes if each is not None)


def account_of(row: VirtualKey) -> Account | None:
    """The owner's; None also for an owner who was written past Django's signals, and not looked at since."""
    return getattr(row.owner, "account", None)


def project_scope(row: Project) -> Scope | None:
    return scope("project", row.pk, f"project {row.name!r}", row)


def global_scope() -> Scope | None:
    """Reads the database."""
    row = GlobalLimits.current()
    return scope("global", row.pk, "this gateway", row)


def scope(kind: str, pk: object, label: str, row: Limited) -> Scope | None:
    """None where nothing is limited."""
    return scope_of(kind, str(pk), label, limits_of(row)) if row.is_limited else None


def any_budget(scopes: Iterable[Scope]) -> bool:
    return any(each.limits.budget is not None for each in scopes)


KINDS: dict[type[Limited], str] = {
    VirtualKey: "key",
    Account: "user",
    Team: "team",
    Project: "project",
    GlobalLimits: "global",
}
"""What a model is called as a scope."""
