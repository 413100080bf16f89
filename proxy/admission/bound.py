"""Whether a request must be metered, and why."""

from __future__ import annotations

from keys.limits.scope import Scope
from keys.models.project import REFUSE
from proxy.configuration.snapshot import Snapshot
from proxy.exchange import Exchange


def needs_metering(exchange: Exchange, snapshot: Snapshot) -> bool:
    """Whether the project says so, or, if it says nothing, a list of models or a budget requires it."""
    project, key = exchange.project, exchange.key
    if project is not None and project.unmetered is not None:
        return project.unmetered == REFUSE
    if key is not None:
        return key.is_bound or snapshot.everyone_is_bound
    return snapshot.everyone_is_bound or (project is not None and project.is_bound)


def reason(exchange: Exchange, snapshot: Snapshot) -> str:
    """Why the request must be metered, as a part of a message."""
    project, key = exchange.project, exchange.key
    if project is not None and project.unmetered == REFUSE:
        return "its project refuses what is not"
    if key is not None and not key.takes_every_model:
        return "this API key has a list of models"
    scopes: tuple[Scope | None, ...] = key.scopes if key is not None else (project.scope if project else None,)
    labels = [each.label for each in (*scopes, *snapshot.global_scopes) if each and each.limits.budget is not None]
    return f"{labels[0]} has a budget" if labels else "there is a budget"
