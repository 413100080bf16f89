"""The models of the sums."""

from __future__ import annotations

from typing import ClassVar

from django.db import connections, models
from django.db.models.expressions import RawSQL

PLACE = ("at", "project_id", "key_id", "user_id", "team_id", "provider", "model", "tags_id")
"""The columns of a row's key. Rows are locked in their order."""

MODEL_PLACE = ("at", "provider", "model")
"""The same for the sums of all keys together."""

KINDS = {"user": "user_id", "team": "team_id", "project": "project_id", "tags": "tags_id"}
"""What has sums of its own, and its column in the other tables."""

KIND_PLACE = ("at", "kind", "ident")

SUMS = (
    *("requests", "errors", "refused", "cache_hits"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"),
    *("cost_picousd", "unpriced", "duration_us", "ttft_us", "ttft_requests"),
    *("saved_tokens", "saved_picousd"),
)


class TagSetQuerySet(models.QuerySet["TagSet"]):
    def with_tag(self, tag: str) -> TagSetQuerySet:
        if connections[self.db].vendor != "sqlite":
            return self.filter(tags__contains=[tag])
        # Django offers no `contains` on SQLite's JSON.
        those = "SELECT its.id FROM usage_tagset AS its, json_each(its.tags) AS one WHERE one.value = %s"
        return self.filter(pk__in=RawSQL(those, [tag]))  # noqa: S611 - the tag is a parameter


class TagSet(models.Model):
    """A set of tags that requests have had. It is written with its first sum, and never changed or deleted."""

    id = models.BigIntegerField(primary_key=True, help_text="Follows from the tags (`usage/rollups/tags.py`).")
    tags = models.JSONField(help_text="In order, each once.")

    objects = TagSetQuerySet.as_manager()

    def __str__(self) -> str:
        return ", ".join(self.tags)


class Sums(models.Model):
    """What was used in the hour or day that begins at `at` (UTC). `place` names the columns of the key."""

    place: ClassVar[tuple[str, ...]]

    at = models.DateTimeField()
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
    # A server of an earlier version, which knows nothing of these, may write rows during an upgrade.
    saved_tokens = models.BigIntegerField(default=0, db_default=0, help_text="Of answers of the cache.")
    saved_picousd = models.BigIntegerField(default=0, db_default=0, help_text="What they would have cost.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}"


class Rollup(Sums):
    """Sums by everything that reports distinguish. The id 0 means none. Ids outlive the objects that they name."""

    place = PLACE

    pk = models.CompositePrimaryKey(*PLACE)
    project_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    user_id = models.BigIntegerField()
    team_id = models.BigIntegerField()
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    tags_id = models.BigIntegerField(help_text="Of a `TagSet`.")

    class Meta:
        abstract = True
        indexes: ClassVar = [
            models.Index(fields=["key_id", "at"], name="%(class)s_key"),
            models.Index(fields=["project_id", "at"], name="%(class)s_project"),
            models.Index(fields=["user_id", "at"], condition=models.Q(user_id__gt=0), name="%(class)s_user"),
        ]


class HourRollup(Rollup):
    """Sums by the hour."""


class DayRollup(Rollup):
    """Sums by the day, UTC: the sums of its hours."""


class ModelRollup(Sums):
    """Sums of all keys together, for reports that name no key: these would add up millions of rows."""

    place = MODEL_PLACE

    pk = models.CompositePrimaryKey(*MODEL_PLACE)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)

    class Meta:
        abstract = True


class HourModelRollup(ModelRollup):
    """By the hour: what the rows of `HourRollup` add up to."""


class DayModelRollup(ModelRollup):
    """By the day, UTC."""


class KindRollup(Sums):
    """Sums of each user, team, project and set of tags by itself, for reports that name only one of them."""

    place = KIND_PLACE

    pk = models.CompositePrimaryKey("kind", "at", "ident")
    kind = models.CharField(max_length=8, help_text=f"One of {', '.join(KINDS)}.")
    ident = models.BigIntegerField()

    class Meta:
        abstract = True


class HourKindRollup(KindRollup):
    """By the hour: what the rows of `HourRollup` add up to."""


class DayKindRollup(KindRollup):
    """By the day, UTC."""
