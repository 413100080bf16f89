"""What changes of Django's users cause in `keys`."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import post_save

from keys.changes import changed
from keys.models import Account

UNSEEN = frozenset({"last_login", "password", "first_name", "last_name", "email"})
"""Fields whose change does not affect how a user's keys are served. A sign-in writes `last_login`."""


def follow() -> None:
    post_save.connect(user_saved, sender=get_user_model(), dispatch_uid="keys.users")


def user_saved(instance: Any, created: bool, raw: bool, update_fields: Any = None, **_: Any) -> None:
    """Create the account of a new user.

    Announce a changed user, because keys are served only while the user is active.
    """
    if raw:
        return  # a fixture contains its accounts
    if created:
        Account.of(instance)
    elif update_fields is None or not UNSEEN.issuperset(update_fields):
        changed.send(sender=Account, ids=[instance.pk])
