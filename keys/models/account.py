"""Accounts: what Sluice knows of a user in addition to Django."""

from __future__ import annotations

import secrets
import string
from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from keys.models.announcing import announced
from keys.models.changing import Changing
from keys.models.limited import Limited
from keys.models.tier import Tier

ALPHABET = string.ascii_lowercase + string.digits


def new_public_id() -> str:
    return "usr_" + "".join(secrets.choice(ALPHABET) for _ in range(20))


@announced
class Account(Limited, Changing):
    """Each user has one; it is created with the user. Its limits apply to all keys that the user owns.

    The primary key is the user's, so a change of an account names the owner of the keys that it concerns.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="account"
    )
    public_id = models.CharField(max_length=32, unique=True, default=new_public_id, editable=False)
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="accounts")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [*Limited.Meta.constraints]

    def __str__(self) -> str:
        return self.public_id

    @classmethod
    def of(cls, user: Any) -> Account:
        """The user's account. It is created if the user was written without Django's signals."""
        return cls.objects.get_or_create(user=user, defaults={"tier": Tier.default()})[0]
