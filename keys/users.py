"""What follows in `keys` from a change of Django's users."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.signals import post_save

from keys.changes import changed
from keys.models import Account

UNSEEN = frozenset({"last_login", "password", "first_name", "last_name", "email"})
"""What may change without a key of that user being served otherwise; a sign-in writes the first."""


def follow() -> None:
    post_save.connect(user_saved, sender=get_user_model(), dispatch_uid="keys.users")


def user_saved(instance: Any, created: bool, raw: bool, update_fields: Any = None, **_: Any) -> None:
    """Make the account of a new user; tell of an old one, whose keys are served only while the user is active."""
    if raw:
        return  # a fixture brings its accounts along
    if created:
        Account.of(instance)
    elif update_fields is None or not UNSEEN.issuperset(update_fields):
        changed.send(sender=Account, ids=[instance.pk])
