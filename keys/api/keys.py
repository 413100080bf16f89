"""Projects and keys in the management API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from keys.api.key_usage import KeyUsageSerializer, key_usage, usage_parameters, wanted_days
from keys.api.people import find_team, find_user
from keys.api.permissions import holds_permission
from keys.api.serializers import (
    BulkRevocationSerializer,
    KeySerializer,
    MintedKeySerializer,
    ProjectSerializer,
    RevokedSerializer,
    RotationSerializer,
)
from keys.models import Project, VirtualKey, VirtualKeyQuerySet
from keys.models.virtual_key import STATUSES
from strict.resource import Resource


class ProjectFilters(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter()
    is_active = filters.BooleanFilter()


class ProjectViewSet(Resource, ModelViewSet[Project]):
    """Groups of keys. A project that has keys, even revoked ones, cannot be deleted."""

    noun = "project"
    queryset = Project.objects.all()
    serializer_class = ProjectSerializer
    filterset_class = ProjectFilters
    search_fields = ("name", "notes")


class KeyFilters(filters.FilterSet):  # type: ignore[misc]
    """Filters of keys. `project`, `owner` and `team` can be names or ids."""

    name = filters.CharFilter()
    project = filters.CharFilter(method="of_project", help_text="Name or id.")
    owner = filters.CharFilter(method="of_owner", help_text="A user's name, id or `usr_…`.")
    team = filters.CharFilter(method="of_team", help_text="Name or id.")
    status = filters.ChoiceFilter(choices=[(name, name) for name in STATUSES], method="with_status")
    tag = filters.CharFilter(method="tagged")

    def of_project(self, keys: VirtualKeyQuerySet, _name: str, value: str) -> QuerySet[VirtualKey]:
        try:
            return keys.filter(project=Project.find(value))
        except Project.DoesNotExist:
            if not holds_permission(self.request, self.request.parser_context["view"]):
                return keys.none()  # like a project of others
            raise ValidationError({"project": [f"There is no project {value!r}."]}) from None

    def of_owner(self, keys: VirtualKeyQuerySet, _name: str, value: str) -> QuerySet[VirtualKey]:
        try:
            return keys.filter(owner=find_user(value))
        except ObjectDoesNotExist:
            return keys.none()  # an error would tell users which other users exist

    def of_team(self, keys: VirtualKeyQuerySet, _name: str, value: str) -> QuerySet[VirtualKey]:
        try:
            return keys.filter(team=find_team(value))
        except ObjectDoesNotExist:
            return keys.none()

    def with_status(self, keys: VirtualKeyQuerySet, _name: str, value: str) -> QuerySet[VirtualKey]:
        return keys.with_status(value, timezone.now())

    def tagged(self, keys: VirtualKeyQuerySet, _name: str, value: str) -> QuerySet[VirtualKey]:
        return keys.tagged(value)


@extend_schema_view(
    create=extend_schema(responses={201: MintedKeySerializer}),
    destroy=extend_schema(description="Revokes the key, for good. Its row stays, for the ledger."),
)
class KeyViewSet(Resource, ModelViewSet[VirtualKey]):
    """Virtual keys. Only the answers to `create` and `rotate` contain a token."""

    noun = "key"
    queryset = VirtualKey.objects.select_related("project", "team", "owner")
    serializer_class = KeySerializer
    filterset_class = KeyFilters
    search_fields = ("name",)
    query: ClassVar = {"usage": ("days",)}
    bodiless = frozenset({"revoke"})
    owner_field = "owner"
    owner_actions = (
        *("list", "retrieve", "create", "update", "partial_update", "destroy"),
        *("revoke", "rotate", "usage"),
    )

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key, token = VirtualKey.objects.mint(**serializer.validated_data)
        return self._token_response(key, token, status.HTTP_201_CREATED)

    def perform_destroy(self, instance: VirtualKey) -> None:
        instance.revoke()

    @extend_schema(request=None, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Revoke the key, for good: its requests are refused from now on. Revoking it again changes nothing."""
        key = self.get_object()
        key.revoke()
        return Response(self.get_serializer(key).data)

    @extend_schema(request=RotationSerializer, responses=MintedKeySerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Give the key a new token. The old one is refused at once, or after the grace that is asked for."""
        serializer = RotationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key = self.get_object()
        token = key.rotate(serializer.validated_data["grace_seconds"])
        return self._token_response(key, token, status.HTTP_200_OK)

    @extend_schema(parameters=usage_parameters, responses=KeyUsageSerializer, filters=False)
    @action(detail=True, methods=["get"], pagination_class=None)
    def usage(self, request: Request, pk: str) -> Response:
        """What the key was used for in the last days, by model, and where its budget stands."""
        days = wanted_days(request)
        now = timezone.now()
        return Response(key_usage(self.get_object(), now - timedelta(days=days), now))

    @extend_schema(operation_id="keys_revoke_all", request=BulkRevocationSerializer, responses=RevokedSerializer)
    @action(detail=False, methods=["post"], url_path="revoke", url_name="revoke-all")
    def revoke_all(self, request: Request) -> Response:
        """Revoke every key of a project."""
        serializer = BulkRevocationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        keys = VirtualKey.objects.filter(project=serializer.validated_data["project"])
        return Response({"revoked": keys.revoke()})

    def _token_response(self, key: VirtualKey, token: str, status_code: int) -> Response:
        body = MintedKeySerializer(key, context={**self.get_serializer_context(), "token": token}).data
        return Response(body, status=status_code, headers={"Cache-Control": "no-store"})
