"""Creates users."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q

LEAST_PASSWORD = 8
MOST_PASSWORD = 1024
"""Hashing is slow on purpose, and a longer text takes longer."""

MOST_EMAIL = 150
"""The address is also the user's name, and Django's column for names is this long."""


class EmailTaken(Exception):
    """A user with this address exists."""


def make_user(email: str, password: str | None) -> Any:
    """Create a user, named by the address, with its account. Raises `EmailTaken`.

    Addresses are compared without case: two accounts that differ only in case are a mistake or a trap.
    """
    name = email.strip().lower()
    users = get_user_model()
    if users._default_manager.filter(Q(username=name) | Q(email__iexact=name)).exists():
        raise EmailTaken("There is an account of this e-mail address already.")
    return users._default_manager.create_user(username=name, email=name, password=password)
