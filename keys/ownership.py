"""What users may do with keys of their own: narrow them, never widen them.

Limits that an operator set on a user's key would be none if the user could lift them. What belongs to others (project,
upstream credential, another owner) is the operator's to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import PermissionDenied, ValidationError

from keys.models import COUNTS, VirtualKey, default_limits

OPERATORS = ("project", "owner", "upstream_alias")
"""Settings that an owner does not make."""

CEILINGS = (*(name for name in COUNTS if name != "burst"), "budget", "expires_at")
"""Settings of which none is the widest, and less is narrower."""

OF_THE_BUDGET = ("period", "time_zone", "soft_threshold")


UNKNOWN = object()
"""Stands for what a name means that is nobody's."""


def check_choices(user: Any, key: VirtualKey | None, meant: Mapping[str, Any]) -> None:
    """Whether a user may choose what these of `OPERATORS` and `team` mean. `key` is None where it is new.

    Raises `PermissionDenied`, in the same words for what there is not and for what is others': it is asked before
    anything else is looked at, so that no other mistake in a request tells them apart.
    """
    for name in OPERATORS:
        if name in meant and (key is None or meant[name] != getattr(key, name)):
            raise PermissionDenied(f"Only an operator sets `{name}` of a key.")
    team = meant.get("team")
    if team is UNKNOWN or (team is not None and not team.members.filter(pk=user.pk).exists()):
        raise PermissionDenied("You are not a member of this team.")
    if key is not None and "team" in meant and team != key.team:
        raise PermissionDenied("Only an operator moves a key to another team.")


def check_own_key(user: Any, key: VirtualKey | None, attrs: dict[str, Any]) -> dict[str, Any]:
    """The settings of a user's own key, which is new where `key` is None, and whose choices were checked.

    Raises `ValidationError` for what would widen the key.
    """
    wider = widened(attrs, of_new_keys() if key is None else settings_of(key))
    if wider:
        raise ValidationError({name: ["You may narrow your keys, not widen them; ask an operator."] for name in wider})
    return attrs if key is not None else {**attrs, "owner": user}


def widened(attrs: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """The names of the settings that would allow more than before."""
    wider = [
        name
        for name in CEILINGS
        if name in attrs and before[name] is not None and (attrs[name] is None or attrs[name] > before[name])
    ]
    ceiling = burst_of(before)
    if ceiling is not None and "burst" in attrs and "rps" not in wider:
        wanted = burst_of({**before, **attrs})
        wider += ["burst"] if wanted is None or wanted > ceiling else []
    if before["budget"] is not None:
        wider += [name for name in OF_THE_BUDGET if name in attrs and attrs[name] != before[name]]
    models, allowed = attrs.get("allowed_models"), before["allowed_models"]
    if models is not None and allowed and "*" not in allowed and not (models and set(models) <= set(allowed)):
        wider.append("allowed_models")
    if attrs.get("is_active") and not before["is_active"]:
        wider.append("is_active")
    return wider


def burst_of(limits: Mapping[str, Any]) -> int | None:
    """How many may come at once, as limits are counted: blank is as many as in a second. None: any number."""
    burst: int | None = limits["burst"]
    return limits["rps"] if burst is None else burst


def settings_of(key: VirtualKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in (*CEILINGS, "burst", *OF_THE_BUDGET, "allowed_models", "is_active")}


def of_new_keys() -> dict[str, Any]:
    """What a new key is held against: the defaults, which it has where nothing is said."""
    blank = VirtualKey()
    budgets = {name: getattr(blank, name) for name in OF_THE_BUDGET}
    return {
        **dict.fromkeys((*CEILINGS, "burst")),
        **default_limits(),
        **budgets,
        "allowed_models": [],
        "is_active": True,
    }
