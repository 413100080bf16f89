"""Periodic tasks for keys and sessions."""

from __future__ import annotations

from importlib import import_module

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from keys.models import VirtualKey


@shared_task
def expire_keys() -> str:
    """Record each expired key once, for the audit log. Its requests are refused from its expiry on, recorded or not."""
    return f"{VirtualKey.objects.record_expiry(timezone.now())} expired"


@shared_task
def clear_sessions() -> None:
    """Delete sessions of people that have ended. Users' tokens are signed and not stored."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
