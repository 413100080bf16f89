"""The provider that the environment describes: `OPENAI_API_KEY` and `OPENAI_BASE_URL`."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from providers.models import Provider

NAME = "openai"


@transaction.atomic
def sync_provider_from_environment() -> None:
    """Create or update the provider named `openai`. Does nothing if the environment has no credential.

    An update changes only the base URL. Weight, models and the rest stay as an operator has set them.
    """
    if not settings.UPSTREAM_CREDENTIALS:
        return
    row, created = Provider.objects.get_or_create(
        name=NAME,
        defaults={"kind": "openai", "base_url": settings.OPENAI_BASE_URL, "credential_alias": "default"},
    )
    if not created and row.base_url != settings.OPENAI_BASE_URL:
        row.base_url = settings.OPENAI_BASE_URL
        row.save(update_fields=["base_url", "updated_at"])
