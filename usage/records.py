"""The models of the ledger: requests, positions in the journal, and the totals of scopes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Self

from django.db import models

from usage.ids import SLACK_MS, id_at
from usage.prices.price import usd


class Outcome(models.TextChoices):
    """How a request ended."""

    COMPLETE = "complete"
    CLIENT_CLOSED = "client_closed"
    UPSTREAM_ERROR = "upstream_error"
    REFUSED = "refused"
    INTERNAL_ERROR = "internal_error"


class RequestQuerySet(models.QuerySet["RequestRecord"]):
    """Remembers its bounds as ids, at which `walk` begins and ends."""

    since: str | None = None
    until: str | None = None

    def between(self, since: datetime | None = None, until: datetime | None = None) -> Self:
        """Return requests from `since` on, and before `until`. Ids of other formats are left out: they have no time."""
        records = self.all()
        if since is not None:
            records.since = max(filter(None, (records.since, id_at(since, -SLACK_MS))))
            records = records.filter(created_at__gte=since, pk__gte=records.since)
        if until is not None:
            records.until = min(filter(None, (records.until, id_at(until, SLACK_MS))))
            records = records.filter(created_at__lt=until, pk__lt=records.until)
        return records

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone.since, clone.until = self.since, self.until
        return clone


class RequestRecord(models.Model):
    """One request. A row is written once, from the journal, and never edited. The order of ids is that of time
    (`usage/ids.py`).

    In PostgreSQL the table has a partition for each week (`usage/ledger/partitions.py`). Values that few rows share are
    indexed. Searches for others go newest first, in steps (`usage/ledger/walk.py`).

    Foreign keys to keys, projects, users and teams have no constraint, because rows outlive these objects, and because
    writing the ledger must not wait for locks on them.
    """

    id = models.CharField(max_length=40, primary_key=True, help_text="The answer's X-Request-ID.")
    created_at = models.DateTimeField()
    key = models.ForeignKey(
        "keys.VirtualKey", null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    project = models.ForeignKey(
        "keys.Project", null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False
    )
    team = models.ForeignKey("keys.Team", null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    user = models.ForeignKey("auth.User", null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    method = models.CharField(max_length=16)
    endpoint = models.CharField(max_length=200)
    provider = models.CharField(max_length=64, blank=True)
    credential = models.CharField(max_length=64, blank=True, help_text="Alias of the upstream credential.")
    model = models.CharField(max_length=200, blank=True, help_text="As the client asked for it.")
    model_served = models.CharField(max_length=200, blank=True, help_text="As the provider was asked for it.")
    stream = models.BooleanField(default=False)
    status_code = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=16, choices=Outcome.choices)
    error = models.CharField(max_length=64, blank=True, help_text="The error's code.")
    cache = models.CharField(max_length=8, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Calls made upstream.")
    prompt_tokens = models.PositiveBigIntegerField(null=True)
    completion_tokens = models.PositiveBigIntegerField(null=True)
    cached_tokens = models.PositiveBigIntegerField(null=True, help_text="Of the prompt's.")
    reasoning_tokens = models.PositiveBigIntegerField(null=True, help_text="Of the completion's.")
    cache_write_tokens = models.PositiveBigIntegerField(null=True, help_text="Of the prompt's.")
    audio_tokens = models.PositiveBigIntegerField(null=True, help_text="Of both.")
    usage_source = models.CharField(max_length=10, blank=True, help_text="`provider`, `estimated` or nothing.")
    cost_picousd = models.BigIntegerField(null=True, help_text="1 USD is 10**12. Null: not known.")
    price_source = models.CharField(
        max_length=16,
        blank=True,
        help_text="`override`, `genai-prices`, `simulator`, `unknown`, or nothing was priced.",
    )
    ttft_ms = models.FloatField(null=True, help_text="To the first byte of the answer's body.")
    duration_ms = models.FloatField()
    upstream_ms = models.FloatField(null=True)
    request_bytes = models.PositiveBigIntegerField(default=0)
    response_bytes = models.PositiveBigIntegerField(default=0)
    ip = models.GenericIPAddressField(null=True)
    correlation_id = models.CharField(max_length=128, blank=True)
    response_id = models.CharField(max_length=128, blank=True, help_text="The provider's id of its answer.")
    tags = models.JSONField(default=list)
    saved_tokens = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="Of an answer of the cache: what its provider counted when it made it."
    )
    saved_picousd = models.BigIntegerField(default=0, db_default=0, help_text="What they would have cost.")

    objects = RequestQuerySet.as_manager()

    class Meta:
        verbose_name = "request"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["key", "-id"], name="request_by_key"),
            models.Index(fields=["project", "-id"], name="request_by_project"),
            models.Index(fields=["user", "-id"], condition=models.Q(user__isnull=False), name="request_by_user"),
            models.Index(
                fields=["correlation_id"], condition=~models.Q(correlation_id=""), name="request_by_correlation"
            ),
            models.Index(fields=["status_code", "-id"], condition=~models.Q(status_code=200), name="request_by_status"),
            models.Index(fields=["outcome", "-id"], condition=~models.Q(outcome="complete"), name="request_by_outcome"),
            models.Index(fields=["response_id"], condition=~models.Q(response_id=""), name="request_by_response"),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def cost_usd(self) -> Decimal | None:
        return None if self.cost_picousd is None else usd(self.cost_picousd)

    @property
    def saved_usd(self) -> Decimal:
        return usd(self.saved_picousd)


class JournalPosition(models.Model):
    """How far the ledger has read a segment of the journal. It is written in the transaction of the rows."""

    segment = models.CharField(max_length=64, primary_key=True)
    end = models.PositiveBigIntegerField(help_text="Bytes.")

    def __str__(self) -> str:
        return f"{self.segment}:{self.end}"


class ScopeTotal(models.Model):
    """What a key, user, team, project or the whole gateway used in a quarter of an hour, or in all time (`slot` -1).

    The cost has two columns: 64 bits hold nine million dollars in picodollars, and SQLite has no wider numbers.
    """

    pk = models.CompositePrimaryKey("kind", "ident", "slot")
    kind = models.CharField(max_length=8)
    ident = models.CharField(max_length=40)
    slot = models.IntegerField(help_text="Quarters of an hour since 1970.")
    requests = models.BigIntegerField(default=0)
    cost_picousd = models.BigIntegerField(default=0, help_text="What is not in `cost_millions`.")
    cost_millions = models.BigIntegerField(default=0, db_default=0, help_text="Of dollars.")
    unseen = models.BooleanField(
        db_default=True, default=True, help_text="It moved, and nobody has looked yet whether that calls for an alert."
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["kind", "ident"], condition=models.Q(slot=-1, unseen=True), name="total_unseen")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.ident}"
