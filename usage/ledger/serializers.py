"""The ledger as the management API shows it."""

from __future__ import annotations

from rest_framework import serializers

from usage.records import RequestRecord


class RequestRecordSerializer(serializers.ModelSerializer[RequestRecord]):
    # The ids stay even if the key, project, user or team was deleted.
    key = serializers.IntegerField(source="key_id", allow_null=True, read_only=True)
    project = serializers.IntegerField(source="project_id", allow_null=True, read_only=True)
    user = serializers.IntegerField(source="user_id", allow_null=True, read_only=True)
    team = serializers.IntegerField(source="team_id", allow_null=True, read_only=True)
    # Null if the key or project was deleted.
    key_name = serializers.CharField(source="key.name", default=None, allow_null=True, read_only=True)
    project_name = serializers.CharField(source="project.name", default=None, allow_null=True, read_only=True)

    cost_usd = serializers.DecimalField(
        max_digits=20, decimal_places=12, allow_null=True, read_only=True, help_text="Null: not known."
    )

    saved_usd = serializers.DecimalField(
        max_digits=20, decimal_places=12, read_only=True, help_text="What `saved_tokens` would have cost."
    )

    class Meta:
        model = RequestRecord
        fields = (
            "id",
            "created_at",
            "key",
            "key_name",
            "project",
            "project_name",
            "user",
            "team",
            "method",
            "endpoint",
            "provider",
            "credential",
            "model",
            "model_served",
            "stream",
            "status_code",
            "outcome",
            "error",
            "cache",
            "attempts",
            "prompt_tokens",
            "completion_tokens",
            "cached_tokens",
            "reasoning_tokens",
            "cache_write_tokens",
            "audio_tokens",
            "usage_source",
            "cost_usd",
            "price_source",
            "ttft_ms",
            "duration_ms",
            "upstream_ms",
            "request_bytes",
            "response_bytes",
            "ip",
            "correlation_id",
            "response_id",
            "tags",
            "saved_tokens",
            "saved_usd",
        )
