"""How a user comes to be."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q

LEAST_PASSWORD = 8
MOST_PASSWORD = 1024
"""Hashing is slow on purpose, and slower the longer the text."""

MOST_EMAIL = 150
"""It is the user's name too, and Django's column for that has no more room."""


class EmailTaken(Exception):
    """There is a user of that address."""


def make_user(email: str, password: str | None) -> Any:
    """A new user, named by the address; its account is made with it. Raises `EmailTaken`.

    Addresses are the same in any case: two accounts that differ in it alone are one person's mistake or another's trap.
    """
    name = email.strip().lower()
    users = get_user_model()
    if users._default_manager.filter(Q(username=name) | Q(email__iexact=name)).exists():
        raise EmailTaken("There is an account of this e-mail address already.")
    return users._default_manager.create_user(username=name, email=name, password=password)
