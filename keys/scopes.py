"""Makes the scopes of admission from database rows."""

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
    """The scopes of the key, its owner, its team and its project, in this order.

    Those without any limit are left out.
    """
    account = account_of(row)
    scopes = (
        scope("key", row.pk, f"key {row.name!r}", row),
        # The label has no name: the holder of a key need not know its owner's, which is usually an e-mail address.
        scope("user", row.owner_id, f"user {account.public_id}", account) if account is not None else None,
        scope("team", row.team_id, f"team {row.team.name!r}", row.team) if row.team is not None else None,
        project_scope(row.project),
    )
    return tuple(each for each in scopes if each is not None)


def account_of(row: VirtualKey) -> Account | None:
    """The owner's account. None also if the owner was written without Django's signals and has no account yet."""
    return getattr(row.owner, "account", None)


def project_scope(row: Project) -> Scope | None:
    return scope("project", row.pk, f"project {row.name!r}", row)


def global_scope() -> Scope | None:
    """The scope of the whole gateway. Reads the database."""
    row = GlobalLimits.current()
    return scope("global", row.pk, "this gateway", row)


def scope(kind: str, pk: object, label: str, row: Limited) -> Scope | None:
    """The scope of a row; None if it has no limits."""
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
"""The kind of scope for each model."""
