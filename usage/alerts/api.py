"""Alerts in the management API, read-only."""

from __future__ import annotations

from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from strict.moments import representable
from strict.resource import Resource
from usage.alerts.alert import Alert, AlertDelivery, Level

SCOPES = [(kind, kind) for kind in ("key", "user", "team", "project", "global")]


class AlertDeliverySerializer(serializers.ModelSerializer[AlertDelivery]):
    class Meta:
        model = AlertDelivery
        fields = ("channel", "attempts", "next_try_at", "sent_at", "error")


class AlertSerializer(serializers.ModelSerializer[Alert]):
    scope = serializers.ChoiceField(SCOPES, source="kind", read_only=True)
    scope_id = serializers.CharField(source="ident", read_only=True)
    user = serializers.IntegerField(source="user_id", allow_null=True, read_only=True)
    period_start = serializers.DateTimeField(allow_null=True, read_only=True, help_text="Null: with the first request.")
    period_end = serializers.DateTimeField(allow_null=True, read_only=True, help_text="Null: never.")
    budget_usd = serializers.DecimalField(max_digits=20, decimal_places=12, read_only=True)
    limit_usd = serializers.DecimalField(
        max_digits=20, decimal_places=12, read_only=True, help_text="The amount that was reached."
    )
    spent_usd = serializers.DecimalField(
        max_digits=20, decimal_places=12, read_only=True, help_text="When it was noticed."
    )
    deliveries = AlertDeliverySerializer(many=True, read_only=True)

    class Meta:
        model = Alert
        fields = (
            "id",
            "created_at",
            "level",
            "scope",
            "scope_id",
            "name",
            "user",
            "period",
            "period_start",
            "period_end",
            "budget_usd",
            "limit_usd",
            "spent_usd",
            "deliveries",
        )


class AlertFilters(filters.FilterSet):  # type: ignore[misc]
    level = filters.ChoiceFilter(choices=Level.choices)
    scope = filters.ChoiceFilter(field_name="kind", choices=SCOPES)
    scope_id = filters.CharFilter(field_name="ident")
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte", validators=[representable])
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt", validators=[representable])


class AlertViewSet(Resource, ReadOnlyModelViewSet[Alert]):
    """Budgets and soft thresholds that were reached, newest first. Users see those of their keys and their own ones."""

    noun = "alert"
    queryset = Alert.objects.prefetch_related("deliveries")
    serializer_class = AlertSerializer
    filterset_class = AlertFilters
    search_fields = ()
    owner_field = "user"
    owner_actions = ("list", "retrieve")
