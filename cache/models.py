"""Stored answers in the database, and what was purged."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Coalesce


class CachedResponse(models.Model):
    """An entry of the cache. Rows are written behind requests (`cache/tiers/database.py`), by plain SQL for speed."""

    name = models.CharField(max_length=65, primary_key=True, help_text="The cache key, and p (plain) or s (stream).")
    project_id = models.BigIntegerField(null=True, help_text="Whose request the provider answered.")
    path = models.CharField(max_length=64, help_text="The endpoint.")
    model = models.CharField(max_length=255, help_text="The client's name for the model.")
    provider_id = models.BigIntegerField(help_text="Who made the answer.")
    served_model = models.CharField(max_length=255, help_text="The provider's name for the model.")
    stream = models.BooleanField(help_text="How it is stored; the other form is made from it.")
    request_id = models.CharField(max_length=40, db_index=True, help_text="The request that the provider answered.")
    response_id = models.CharField(max_length=128, blank=True, db_index=True, help_text="The provider's id of it.")
    created_at = models.DateTimeField(db_index=True)
    expires_at = models.DateTimeField(db_index=True)
    purge = models.BigIntegerField(help_text="The newest purge that was known when the provider was asked.")
    size = models.BigIntegerField(help_text="Bytes, about.")
    hit_count = models.BigIntegerField(default=0, db_default=0)
    last_hit_at = models.DateTimeField(null=True)
    packed = models.BinaryField(help_text="The entry, in the format of cache/entry.py.")

    class Meta:
        verbose_name = "cached response"
        indexes: ClassVar = [
            # Sums by project read the index alone: rows are large.
            models.Index(fields=["project_id", "-created_at", "size", "hit_count"], name="cached_by_project"),
            models.Index(Coalesce("last_hit_at", "created_at"), name="cached_by_use"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def cache_key(self) -> str:
        return self.name[:-1]


class CachePurge(models.Model):
    """What was purged, and by that hidden. `cache/purge.py` says how; numbers become visible in their order."""

    created_at = models.DateTimeField(auto_now_add=True)
    cache_key = models.CharField(max_length=64, blank=True, help_text="Blank: of any.")
    project_id = models.BigIntegerField(null=True, help_text="Null: of any.")
    path = models.CharField(max_length=64, blank=True, help_text="The beginning of the endpoint's path.")
    model = models.CharField(max_length=255, blank=True, help_text="The beginning of the client's name for the model.")
    response_id = models.CharField(max_length=128, blank=True, help_text="Of an answer that its client has deleted.")
    is_done = models.BooleanField(default=False, help_text="The rows that it hides are deleted.")

    class Meta:
        verbose_name = "purge of the cache"
        verbose_name_plural = "purges of the cache"

    def __str__(self) -> str:
        return f"purge {self.pk}"
