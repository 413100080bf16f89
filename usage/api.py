"""The ledger in the management API."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from rest_framework.viewsets import ReadOnlyModelViewSet

from usage.models import Outcome, RequestRecord
from usage.serializers import RequestRecordSerializer


class RequestFilters(filters.FilterSet):  # type: ignore[misc]
    """Exact, all of them, so that an index can answer where there is one."""

    key = filters.NumberFilter(field_name="key_id")
    project = filters.CharFilter(method="of_project", help_text="Id or name.")
    provider = filters.CharFilter()
    model = filters.CharFilter()
    endpoint = filters.CharFilter()
    status_code = filters.NumberFilter()
    outcome = filters.ChoiceFilter(choices=Outcome.choices)
    stream = filters.BooleanFilter()
    response_id = filters.CharFilter(method="answered_as")
    correlation_id = filters.CharFilter()
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    def of_project(self, records: QuerySet[RequestRecord], _name: str, value: str) -> QuerySet[RequestRecord]:
        named = Q(project__name=value)
        return records.filter(named | Q(project_id=int(value)) if value.isdecimal() and len(value) <= 18 else named)

    def answered_as(self, records: QuerySet[RequestRecord], _name: str, value: str) -> QuerySet[RequestRecord]:
        # The index leaves blank ids out; saying so again is what lets SQLite use it.
        return records.filter(~Q(response_id=""), response_id=value)


class RequestViewSet(ReadOnlyModelViewSet[RequestRecord]):
    """Every request that went through, newest first."""

    queryset = RequestRecord.objects.select_related("key", "project")
    serializer_class = RequestRecordSerializer
    filterset_class = RequestFilters
    search_fields = ()
    lookup_value_regex = r"[A-Za-z0-9_-]+"
