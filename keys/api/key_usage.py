"""The usage of one key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from keys.models import VirtualKey
from keys.models.usd import usd
from keys.ports import LEDGER, ModelUsage
from keys.spending import spending_of
from shown.money import machine

MOST_DAYS = 365
DEFAULT_DAYS = 30
MOST_MODELS = 500
"""At most this many are shown, the most used first: clients choose these names, so there may be any number of them."""

usage_parameters = [
    OpenApiParameter("days", {"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": DEFAULT_DAYS})
]


def wanted_days(request: Request) -> int:
    """The number of days that the client asks for. Raises `ValidationError`."""
    text = request.query_params.get("days", str(DEFAULT_DAYS))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST_DAYS):
        raise ValidationError({"days": [f"Write a number from 1 to {MOST_DAYS}."]})
    return int(text)


class UsageSerializer(serializers.Serializer[Any]):
    """Refused requests are not counted."""

    requests = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    cost_usd = serializers.DecimalField(max_digits=22, decimal_places=12)
    unpriced_requests = serializers.IntegerField(help_text="Whose cost is not known, and not in `cost_usd`.")


class ModelUsageSerializer(UsageSerializer):
    model = serializers.CharField(allow_blank=True)


class KeyUsageSerializer(serializers.Serializer[Any]):
    """A key's usage since a time, and its budget in the current period."""

    id = serializers.IntegerField()
    since = serializers.DateTimeField()
    totals = UsageSerializer()
    by_model = ModelUsageSerializer(many=True)
    average_tokens_per_request = serializers.FloatField()
    budget = serializers.DecimalField(max_digits=13, decimal_places=6, allow_null=True)
    period = serializers.CharField()
    spent = serializers.DecimalField(max_digits=22, decimal_places=12, allow_null=True)
    remaining = serializers.DecimalField(max_digits=22, decimal_places=12, allow_null=True)
    percent_of_budget = serializers.FloatField(allow_null=True)
    resets_at = serializers.DateTimeField(allow_null=True)


def key_usage(key: VirtualKey, since: datetime, now: datetime) -> dict[str, Any]:
    rows = LEDGER().usage_of_key(key.pk, since)
    totals = ModelUsage("", *(sum(column) for column in list(zip(*rows, strict=True))[1:] or [()] * 5))
    tokens = totals.prompt_tokens + totals.completion_tokens
    spending = spending_of([key], now).get(key.pk)
    document = {
        "id": key.pk,
        "since": since,
        "totals": _usage(totals),
        "by_model": [{"model": row.model, **_usage(row)} for row in rows[:MOST_MODELS]],
        "average_tokens_per_request": round(tokens / totals.requests, 2) if totals.requests else 0.0,
        "budget": key.budget,
        "period": key.period,
        "spent": spending and spending.spent,
        "remaining": spending and spending.remaining,
        "percent_of_budget": spending and spending.percent_of(key.budget),
        "resets_at": spending and spending.resets_at,
    }
    return dict(KeyUsageSerializer(document).data)


def _usage(usage: ModelUsage) -> dict[str, Any]:
    return {
        "requests": usage.requests,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "cost_usd": machine(usd(usage.cost_picousd)),
        "unpriced_requests": usage.unpriced_requests,
    }
