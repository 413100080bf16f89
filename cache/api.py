"""The response cache in the management API: what is stored, and purges."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db.models import Count, Max, Min, Q, QuerySet, Sum
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from cache.frames import frames_of
from cache.models import CachedResponse, CachePurge
from cache.purge import live, purge
from cache.serializers import (
    KEY,
    CachedAnswerSerializer,
    CachedResponseSerializer,
    CachePurgeSerializer,
    CacheSerializer,
    FramesQuery,
    FramesSerializer,
    PurgedSerializer,
    PurgeSerializer,
    entry_of,
)
from strict.moments import representable
from strict.queries import StrictView
from strict.resource import Resource

if TYPE_CHECKING:
    Pages = CursorPagination
else:
    Pages = api_settings.DEFAULT_PAGINATION_CLASS  # by the setting, because it is in another app

MOST_PROJECTS, MOST_PURGES = 100, 20


class NewestAnswersFirst(Pages):
    ordering = ("-created_at", "-name")


class CachedResponseFilters(filters.FilterSet):  # type: ignore[misc]
    project = filters.NumberFilter(field_name="project_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    endpoint = filters.CharFilter(field_name="path")
    model = filters.CharFilter()
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte", validators=[representable])
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt", validators=[representable])
    provider = filters.NumberFilter(field_name="provider_id", min_value=1, max_value=2**63 - 1, decimal_places=0)
    stream = filters.BooleanFilter()
    request_id = filters.CharFilter()
    response_id = filters.CharFilter()


class CachedResponseViewSet(Resource, ReadOnlyModelViewSet[CachedResponse]):
    """Stored answers that may be used, newest first.

    One is named by its id, by its cache key, by the id of the request that its provider answered, or by the provider's
    own id of the answer.
    """

    noun = "stored answer"
    queryset = CachedResponse.objects.all()
    filterset_class = CachedResponseFilters
    pagination_class = NewestAnswersFirst
    search_fields = ()
    lookup_url_kwarg = "id"
    lookup_value_regex = r"[A-Za-z0-9_:-]+"
    query: ClassVar = {"frames": FramesQuery}

    def get_serializer_class(self) -> Any:
        return CachedResponseSerializer if self.action == "list" else CachedAnswerSerializer

    def get_queryset(self) -> QuerySet[CachedResponse]:
        rows = live()
        return rows.defer("packed") if self.action == "list" else rows

    def get_object(self) -> CachedResponse:
        named = self.kwargs["id"]
        rows = self.filter_queryset(self.get_queryset())
        if KEY.fullmatch(named):
            rows = rows.filter(name__in=[named] if len(named) > 64 else [named + form for form in "ps"])
        else:
            rows = rows.filter(Q(request_id=named) | Q(response_id=named))
        row: CachedResponse | None = rows.order_by("-created_at", "name").first()
        if row is None:
            raise NotFound(f"There is no {self.noun} {named[:80]!r}.")
        self.check_object_permissions(self.request, row)
        return row

    @extend_schema(parameters=[FramesQuery], responses=FramesSerializer, filters=False)
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def frames(self, request: Request, **_: Any) -> Response:
        """The events of a stored stream, with the time at which each was complete. `next` is the following page."""
        asked = FramesQuery(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        after, size = asked.validated_data["after"], asked.validated_data["page_size"]
        row = self.get_object()
        entry = entry_of(row)
        if entry is None or not entry.is_stream:
            raise NotFound("This answer has no frames: it is stored as an object, or by another version of Sluice.")
        frames = [frame._asdict() for frame in islice(frames_of(entry), after, after + size + 1)]
        following = None
        if len(frames) > size:
            frames.pop()
            following = replace_query_param(request.build_absolute_uri(), "after", after + size)
        return Response({"next": following, "previous": None, "results": frames})


class CacheView(StrictView, APIView):
    """What the response cache has stored in the database, in total and by project, and the latest purges."""

    queryset = CachedResponse.objects.all()

    @extend_schema(responses=CacheSerializer)
    def get(self, request: Request) -> Response:
        rows = CachedResponse.objects.order_by()
        sums: dict[str, Any] = {
            "entries": Count("*"),
            "bytes": Sum("size", default=0),
            "hits": Sum("hit_count", default=0),
            "oldest_at": Min("created_at"),
            "newest_at": Max("created_at"),
        }
        projects: Any = rows.values("project_id").annotate(**sums)
        projects = projects.order_by("-bytes", "project_id")[:MOST_PROJECTS]
        document = {
            **rows.aggregate(**sums),
            "most_bytes": settings.HTTP_CACHE_STORE_BYTES,
            "is_stored": settings.HTTP_CACHE_ENABLED and settings.HTTP_CACHE_STORE,
            "projects": [{"project": row.pop("project_id"), **row} for row in projects],
            "purges": CachePurge.objects.order_by("-pk")[:MOST_PURGES],
        }
        return Response(CacheSerializer(document).data)


class CachePurgeView(StrictView, APIView):
    """Purge stored answers: they are used no more, in any process, from a second after the answer on."""

    queryset = CachePurge.objects.all()

    @extend_schema(request=PurgeSerializer, responses={201: PurgedSerializer})
    def post(self, request: Request) -> Response:
        asked = PurgeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        said = asked.validated_data
        made, entries = purge(
            cache_key=said.get("cache_key", "")[:64],
            project_id=said.get("project"),
            path=said.get("path", ""),
            model=said.get("model", ""),
        )
        return Response({**CachePurgeSerializer(made).data, "entries": entries}, status=status.HTTP_201_CREATED)
