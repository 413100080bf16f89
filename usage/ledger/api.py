"""The ledger in the management API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from strict.moments import representable
from strict.resource import Resource
from usage.bodies.api import RequestBodiesSerializer
from usage.bodies.record import RequestBodies
from usage.ledger.pages import LedgerPages
from usage.ledger.search import MEANS, search
from usage.ledger.serializers import RequestRecordSerializer
from usage.ledger.walk import Slow
from usage.records import Outcome, RequestQuerySet, RequestRecord


class RequestFilters(filters.FilterSet):  # type: ignore[misc]
    """Filters that compare exactly, so that an index can be used if there is one."""

    key = filters.NumberFilter(field_name="key_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    project = filters.CharFilter(method="of_project", help_text="Id or name.")
    user = filters.NumberFilter(field_name="user_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    team = filters.NumberFilter(field_name="team_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    provider = filters.CharFilter()
    model = filters.CharFilter()
    endpoint = filters.CharFilter()
    status_code = filters.NumberFilter(min_value=100, max_value=599, decimal_places=0)
    outcome = filters.ChoiceFilter(choices=Outcome.choices)
    stream = filters.BooleanFilter()
    response_id = filters.CharFilter(method="answered_as")
    correlation_id = filters.CharFilter(method="correlated_by")
    created_after = filters.IsoDateTimeFilter(method="filter_since", validators=[representable])
    created_before = filters.IsoDateTimeFilter(method="filter_before", validators=[representable])
    search = filters.CharFilter(method="filter_by_search", help_text=MEANS)

    def of_project(self, records: RequestQuerySet, _name: str, value: str) -> RequestQuerySet:
        # The project's id is looked up first: a query that still has to find the id cannot read an index in order.
        projects: Any = RequestRecord._meta.get_field("project").related_model
        numbers = set(projects.objects.filter(name=value).values_list("pk", flat=True))
        if value.isdecimal() and len(value) <= 18:
            numbers.add(int(value))
        return records.filter(project_id=numbers.pop()) if len(numbers) == 1 else records.filter(project__in=numbers)

    def answered_as(self, records: RequestQuerySet, _name: str, value: str) -> RequestQuerySet:
        # The index contains no blank ids. SQLite uses it only if the query excludes them as well.
        return records.filter(~Q(response_id=""), response_id=value)

    def correlated_by(self, records: RequestQuerySet, _name: str, value: str) -> RequestQuerySet:
        return records.filter(~Q(correlation_id=""), correlation_id=value)

    def filter_since(self, records: RequestQuerySet, _name: str, moment: datetime) -> RequestQuerySet:
        return records.between(since=moment)

    def filter_before(self, records: RequestQuerySet, _name: str, moment: datetime) -> RequestQuerySet:
        return records.between(until=moment)

    def filter_by_search(self, records: RequestQuerySet, _name: str, term: str) -> RequestQuerySet:
        return search(records, term)


class TooSlow(APIException):
    status_code = 503
    default_detail = "The database did not answer in time; bound the search by `created_after` and `created_before`."
    default_code = "too_slow"
    wait = 5
    """Seconds, for `Retry-After`."""


class RequestViewSet(Resource, ReadOnlyModelViewSet[RequestRecord]):
    """Every request that went through, newest first. Users see those that were made with their own keys.

    A page that takes too long to fill ends early: with fewer rows than asked for, and a `next` that goes on from there.
    """

    noun = "request"
    # Not select_related: together with a filter on the key it becomes an inner join, which loses rows of deleted keys.
    queryset = RequestRecord.objects.prefetch_related("key", "project")
    serializer_class = RequestRecordSerializer
    filterset_class = RequestFilters
    pagination_class = LedgerPages
    search_fields = ()
    owner_field = "user"
    owner_actions = ("list", "retrieve", "bodies")
    lookup_value_regex = r"[A-Za-z0-9_-]+"

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        try:
            return super().list(request, *args, **kwargs)
        except Slow:
            raise TooSlow from None

    @extend_schema(responses=RequestBodiesSerializer, filters=False)
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def bodies(self, request: Request, pk: str) -> Response:
        """The captured bodies of the request and its answer. Users who may see the request may see them."""
        return Response(RequestBodiesSerializer(self._kept()).data, headers={"Cache-Control": "no-store"})

    @extend_schema(responses={204: None})
    @bodies.mapping.delete
    def delete_bodies(self, request: Request, pk: str) -> Response:
        """Delete the bodies before their retention ends. The row of the request stays."""
        self._kept().delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _kept(self) -> RequestBodies:
        kept = RequestBodies.objects.filter(pk=self.get_object().pk).first()
        if kept is None:
            raise NotFound("What this request and its answer said was not kept, or is gone.")
        return kept
