"""Rows in Django's own test database: `make_key("ci", rpm=3)`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db.models import Q
from django.utils import timezone

from cache.entry import About, Entry, packed
from cache.models import CachedResponse
from keys.models import COUNTS, Project, VirtualKey
from keys.records import KeyRecord, load_keys
from providers.models import Credential, Provider
from usage.models import Alert, RequestRecord

TOKEN = "management-token-of-the-tests"
LIMITS = {
    *COUNTS,
    *("budget", "period", "soft_threshold", "time_zone", "spent", "remaining", "resets_at"),
}
"""The fields that every scope has for its limits."""
SECRET = "sk-upstream-secret-0123456789"


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


def make_cached(name: str, **fields: Any) -> CachedResponse:
    """A stored answer; `name` is a cache key and the letter of its form."""
    now = timezone.now()
    about = About("/v1/chat/completions", "gpt-4.1-mini", 7, "req_1", "chatcmpl-1", 0)
    is_stream = name.endswith("s")
    piece = b"event: e\ndata: {}\n\n" if is_stream else b"{}"
    entry = Entry(200, [], ((0.5, piece),), is_stream, False, False, 1, "m", 0.0, 0.0, about, is_stream)
    columns: dict[str, Any] = {
        "project_id": about.project_id,
        "path": about.path,
        "model": about.model,
        "provider_id": entry.provider_id,
        "served_model": entry.model,
        "stream": is_stream,
        "request_id": about.request_id,
        "response_id": about.response_id,
        "created_at": now,
        "expires_at": now + timedelta(hours=1),
        "purge": 0,
        "size": 1000,
        "packed": packed(entry),
    }
    return CachedResponse.objects.create(name=name, **{**columns, **fields})


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


def key_record(row: VirtualKey) -> KeyRecord:
    """The record of the key, as a process that serves keeps it."""
    return load_keys([row.public_id])[row.public_id][0]
