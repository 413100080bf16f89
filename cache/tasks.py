"""The periodic tasks of the cache."""

from __future__ import annotations

from celery import shared_task

from cache.purge import prune


@shared_task
def prune_cache() -> str:
    """Delete stored answers that are purged or have expired, and those used longest ago beyond the bound."""
    pruned = prune()
    return f"{pruned.purged} purged, {pruned.expired} expired, {pruned.beyond_bound} beyond the bound"
