"""What happens to keys and sessions by the clock."""

from __future__ import annotations

from importlib import import_module

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from keys.models import VirtualKey


@shared_task
def expire_keys() -> str:
    """Tell of keys whose time is over, once for each; they are refused from that moment on, told or not."""
    return f"{VirtualKey.objects.record_expiry(timezone.now())} expired"


@shared_task
def clear_sessions() -> None:
    """Delete the sessions of people that have ended. Tokens of users are signed, and not stored."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
