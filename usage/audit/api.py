"""The audit log in the management API, read-only."""

from __future__ import annotations

from django.core.validators import validate_ipv46_address
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from strict.moments import representable
from strict.resource import Resource
from usage.audit.entry import ActorKind, AuditEntry, Result


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    class Meta:
        model = AuditEntry
        fields = (
            "id",
            "created_at",
            "actor_kind",
            "actor",
            "action",
            "target_kind",
            "target_id",
            "target",
            "result",
            "code",
            "status_code",
            "ip",
            "request_id",
            "changes",
        )


class AuditFilters(filters.FilterSet):  # type: ignore[misc]
    actor_kind = filters.ChoiceFilter(choices=ActorKind.choices)
    actor = filters.CharFilter()
    action = filters.CharFilter()
    target_kind = filters.CharFilter()
    target_id = filters.CharFilter()
    target = filters.CharFilter()
    result = filters.ChoiceFilter(choices=Result.choices)
    code = filters.CharFilter()
    status_code = filters.NumberFilter(min_value=100, max_value=599, decimal_places=0)
    ip = filters.CharFilter(validators=[validate_ipv46_address])
    request_id = filters.CharFilter()
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte", validators=[representable])
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt", validators=[representable])


class AuditViewSet(Resource, ReadOnlyModelViewSet[AuditEntry]):
    """Who did what, and what was refused, newest first."""

    noun = "audit entry"
    queryset = AuditEntry.objects.all()
    serializer_class = AuditEntrySerializer
    filterset_class = AuditFilters
    search_fields = ("actor", "action", "target", "code")
