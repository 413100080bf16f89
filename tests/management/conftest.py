"""Callers of the management API, and rows for them to find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Q
from django.test import Client
from rest_framework.test import APIClient

from keys.models import COUNTS, Project, VirtualKey
from providers.models import Credential, Provider
from usage.audit import middleware as audit_middleware
from usage.audit.bound import Bound
from usage.models import Alert, RequestRecord

TOKEN = "management-token-of-the-tests"
LIMITS = {
    *COUNTS,
    *("budget", "period", "soft_threshold", "time_zone", "spent", "remaining", "resets_at"),
}
"""The fields of whatever can be limited."""

SECRET = "sk-upstream-secret-0123456789"


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


def new_user(*permissions: str, name: str = "ann", **fields: Any) -> User:
    user = User.objects.create_user(name, password="pw", **{"is_staff": True, **fields})
    if permissions:
        named = Q()
        for permission in permissions:
            app, codename = permission.split(".")
            named |= Q(content_type__app_label=app, codename=codename)
        found = Permission.objects.filter(named)
        assert len(found) == len(set(permissions))
        user.user_permissions.add(*found)
    return user


@pytest.fixture
def admin(db: None) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="pw"))
    return client


def make_key(name: str = "k", **fields: Any) -> VirtualKey:
    return VirtualKey.objects.mint(name=name, **fields)[0]


def make_project(name: str = "p", **fields: Any) -> Project:
    return Project.objects.create(name=name, **fields)


def make_provider(name: str = "up", **fields: Any) -> Provider:
    return Provider.objects.create(name=name, **{"base_url": "http://upstream/v1", **fields})


def make_credential(alias: str = "default", secret: str = SECRET, **fields: Any) -> Credential:
    credential = Credential(alias=alias, **fields)
    credential.secret = secret
    credential.save()
    return credential


def make_record(pk: str = "r1", **fields: Any) -> RequestRecord:
    given: dict[str, Any] = {
        "created_at": datetime(2026, 11, 20, 12, tzinfo=UTC),
        "method": "POST",
        "endpoint": "/v1/chat/completions",
        "provider": "up",
        "model": "gpt-4.1-mini",
        "status_code": 200,
        "outcome": "complete",
        "duration_ms": 12.5,
    }
    return RequestRecord.objects.create(id=pk, **{**given, **fields})


def make_alert(**fields: Any) -> Alert:
    given: dict[str, Any] = {
        "created_at": datetime(2026, 11, 20, 12, tzinfo=UTC),
        "level": "threshold",
        "kind": "key",
        "ident": "1",
        "name": "k",
        "period": "month",
        "since": 1_793_491_200,
        "until": 1_796_083_200,
        "budget_picousd": 10**12,
        "limit_picousd": 8 * 10**11,
        "spent_picousd": 9 * 10**11,
    }
    return Alert.objects.create(**{**given, **fields})
