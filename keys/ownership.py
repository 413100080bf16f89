"""What users may do with their own keys: make them allow less, never more.

An operator's limits on a user's key would be useless if the user could lift them. What belongs to others (project,
upstream credential, another owner) only an operator can assign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import PermissionDenied, ValidationError

from keys.models import COUNTS, VirtualKey, default_limits

OPERATORS = ("project", "owner", "upstream_alias")
"""Settings that only operators make."""

CEILINGS = (*(name for name in COUNTS if name != "burst"), "budget", "expires_at")
"""Settings for which None allows most, and a smaller value allows less."""

OF_THE_BUDGET = ("period", "time_zone", "soft_threshold")


UNKNOWN = object()
"""The meaning of a name that does not exist."""


def check_choices(user: Any, key: VirtualKey | None, meant: Mapping[str, Any]) -> None:
    """Check whether a user may choose these values of `OPERATORS` and `team`. `key` None: the key is new.

    Raises `PermissionDenied` with the same text whether a name does not exist or belongs to others. This check comes
    first, so that no other mistake in a request tells the two apart.
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
    """The settings for a user's own key, after `check_choices`. `key` None: the key is new.

    Raises `ValidationError` for settings that allow more than before.
    """
    wider = widened(attrs, of_new_keys() if key is None else settings_of(key))
    if wider:
        raise ValidationError({name: ["You may narrow your keys, not widen them; ask an operator."] for name in wider})
    return attrs if key is not None else {**attrs, "owner": user}


def widened(attrs: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """The names of the settings that allow more than before."""
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
    """How many requests may come at once, as admission counts: without `burst`, it is `rps`. None: any number."""
    burst: int | None = limits["burst"]
    return limits["rps"] if burst is None else burst


def settings_of(key: VirtualKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in (*CEILINGS, "burst", *OF_THE_BUDGET, "allowed_models", "is_active")}


def of_new_keys() -> dict[str, Any]:
    """What the settings of a new key are compared with: the defaults, which it gets for settings that are left out."""
    blank = VirtualKey()
    budgets = {name: getattr(blank, name) for name in OF_THE_BUDGET}
    return {
        **dict.fromkeys((*CEILINGS, "burst")),
        **default_limits(),
        **budgets,
        "allowed_models": [],
        "is_active": True,
    }
