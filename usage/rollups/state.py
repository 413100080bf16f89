"""The rows of sums."""

from __future__ import annotations

from typing import ClassVar

from django.db import connections, models
from django.db.models.expressions import RawSQL

PLACE = ("at", "project_id", "key_id", "user_id", "team_id", "provider", "model", "tags_id")
"""What a row is for, and the order in which rows are locked."""

SUMS = (
    *("requests", "errors", "refused", "cache_hits"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
    *("cost_picousd", "unpriced", "duration_us", "ttft_us", "ttft_requests"),
)


class TagSetQuerySet(models.QuerySet["TagSet"]):
    def with_tag(self, tag: str) -> TagSetQuerySet:
        if connections[self.db].vendor != "sqlite":
            return self.filter(tags__contains=[tag])
        # Django offers no `contains` on SQLite's JSON.
        those = "SELECT its.id FROM usage_tagset AS its, json_each(its.tags) AS one WHERE one.value = %s"
        return self.filter(pk__in=RawSQL(those, [tag]))  # noqa: S611 - the tag is a parameter


class TagSet(models.Model):
    """Tags that requests have had together. Written with the first sum of them, and never changed or deleted."""

    id = models.BigIntegerField(primary_key=True, help_text="Follows from the tags (`usage/rollups/tags.py`).")
    tags = models.JSONField(help_text="In order, each once.")

    objects = TagSetQuerySet.as_manager()

    def __str__(self) -> str:
        return ", ".join(self.tags)


class Rollup(models.Model):
    """What was used from `at` on, UTC. 0 stands for none of them; numbers outlive what they name."""

    pk = models.CompositePrimaryKey(*PLACE)
    at = models.DateTimeField()
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    user_id = models.BigIntegerField()
    team_id = models.BigIntegerField()
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    tags_id = models.BigIntegerField(help_text="Of a `TagSet`.")
    requests = models.BigIntegerField(help_text="Of every outcome.")
    errors = models.BigIntegerField(help_text="That ended with an error of the provider or of Sluice.")
    refused = models.BigIntegerField(help_text="That Sluice refused.")
    cache_hits = models.BigIntegerField(help_text="That no provider was asked for.")
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    cost_picousd = models.BigIntegerField()
    unpriced = models.BigIntegerField(help_text="Whose cost is not known, and not in `cost_picousd`.")
    duration_us = models.BigIntegerField()
    ttft_us = models.BigIntegerField(help_text="Of those whose answer began.")
    ttft_requests = models.BigIntegerField(help_text="Whose answer began.")

    class Meta:
        abstract = True
        indexes: ClassVar = [
            models.Index(fields=["key_id", "at"], name="%(class)s_key"),
            models.Index(fields=["project_id", "at"], name="%(class)s_project"),
            models.Index(fields=["user_id", "at"], condition=models.Q(user_id__gt=0), name="%(class)s_user"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.model}"


class HourRollup(Rollup):
    """By the hour."""


class DayRollup(Rollup):
    """By the day, UTC: what its hours add up to."""
