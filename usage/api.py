"""The ledger in the management API."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from usage.bodies.api import RequestBodiesSerializer
from usage.bodies.record import RequestBodies
from usage.models import Outcome, RequestRecord
from usage.moments import representable
from usage.serializers import RequestRecordSerializer


class RequestFilters(filters.FilterSet):  # type: ignore[misc]
    """Exact, all of them, so that an index can answer where there is one."""

    key = filters.NumberFilter(field_name="key_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    project = filters.CharFilter(method="of_project", help_text="Id or name.")
    provider = filters.CharFilter()
    model = filters.CharFilter()
    endpoint = filters.CharFilter()
    status_code = filters.NumberFilter(min_value=100, max_value=599, decimal_places=0)
    outcome = filters.ChoiceFilter(choices=Outcome.choices)
    stream = filters.BooleanFilter()
    response_id = filters.CharFilter(method="answered_as")
    correlation_id = filters.CharFilter()
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte", validators=[representable])
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt", validators=[representable])

    def of_project(self, records: QuerySet[RequestRecord], _name: str, value: str) -> QuerySet[RequestRecord]:
        projects: Any = RequestRecord._meta.get_field("project").related_model
        named = Q(project__in=projects.objects.filter(name=value))
        return records.filter(named | Q(project_id=int(value)) if value.isdecimal() and len(value) <= 18 else named)

    def answered_as(self, records: QuerySet[RequestRecord], _name: str, value: str) -> QuerySet[RequestRecord]:
        # The index leaves blank ids out; saying so again is what lets SQLite use it.
        return records.filter(~Q(response_id=""), response_id=value)


class RequestViewSet(ReadOnlyModelViewSet[RequestRecord]):
    """Every request that went through, newest first. Users see those that were made with their own keys."""

    # Not select_related: beside a filter on the key that becomes an inner join, which loses rows whose key is gone.
    queryset = RequestRecord.objects.prefetch_related("key", "project")
    serializer_class = RequestRecordSerializer
    filterset_class = RequestFilters
    search_fields = ()
    owner_field = "user"
    owner_actions = ("list", "retrieve", "bodies")
    lookup_value_regex = r"[A-Za-z0-9_-]+"

    @extend_schema(responses=RequestBodiesSerializer, filters=False)
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def bodies(self, request: Request, pk: str) -> Response:
        """What the request and its answer said, where its project has that kept; for who may see the request."""
        found = get_object_or_404(RequestBodies, pk=self.get_object().pk)
        return Response(RequestBodiesSerializer(found).data, headers={"Cache-Control": "no-store"})

    @extend_schema(responses={204: None})
    @bodies.mapping.delete
    def delete_bodies(self, request: Request, pk: str) -> Response:
        """Delete them before their time. The row stays."""
        get_object_or_404(RequestBodies, pk=self.get_object().pk).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
