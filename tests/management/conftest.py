"""Callers of the management API, and rows for them to find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from rest_framework.test import APIClient

from tests.kit.rows import TOKEN, new_user
from tests.kit.terminal import Terminal
from usage.audit import middleware as audit_middleware
from usage.audit.bound import Bound


@pytest.fixture(autouse=True)
def _refusals_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests were refused in this second does not count towards this one's bound."""
    monkeypatch.setattr(audit_middleware, "bound", Bound())


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings.MANAGEMENT_TOKEN = TOKEN
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # slow ones are half of the time
    settings.WHITENOISE_USE_FINDERS = False  # each client would read all static files: a fifth of the time


@pytest.fixture
def api(db: None) -> APIClient:
    """Bears the management token. An error in a view is raised, not answered with 500."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {TOKEN}")
    return client


@pytest.fixture(scope="module")
def module_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database for fixtures of a module: all of its tests find the rows, and as they were made. A test's own
    transaction is a part of this one.
    """
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    return new_user


@pytest.fixture
def admin(db: None) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="pw"))
    return client


@pytest.fixture(params=["local", "remote"])
def run(request: pytest.FixtureRequest) -> Terminal:
    """Commands on this installation, and on another one over HTTP."""
    if request.param == "local":
        return Terminal()
    return Terminal("--api-url", request.getfixturevalue("live_server").url, "--token", TOKEN)


@pytest.fixture
def rows(db: None, made: dict[str, Any]) -> dict[str, Any]:
    """Those that the module has made once for all of its tests."""
    return made
