"""Teams, tiers, users and global limits in the management API."""

from __future__ import annotations

from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ModelViewSet

from keys.api.account_serializers import (
    GlobalLimitsSerializer,
    NewUserSerializer,
    TeamSerializer,
    TierSerializer,
    UserSerializer,
)
from keys.models import Account, GlobalLimits, Team, Tier
from strict.queries import StrictView
from strict.resource import Resource


class TeamFilters(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter()


class TeamViewSet(Resource, ModelViewSet[Team]):
    """People who share limits and a budget. A team that has keys, even revoked ones, cannot be deleted.

    Members see their teams. Only operators change them.
    """

    noun = "team"
    queryset = Team.objects.prefetch_related("members")
    serializer_class = TeamSerializer
    filterset_class = TeamFilters
    search_fields = ("name", "notes")
    owner_field = "members"
    owner_actions = ("list", "retrieve")


class TierFilters(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter()
    compute = filters.CharFilter()


class TierViewSet(Resource, ModelViewSet[Tier]):
    """Plans of accounts. A tier that has accounts cannot be deleted."""

    noun = "tier"
    queryset = Tier.objects.all()
    serializer_class = TierSerializer
    filterset_class = TierFilters
    search_fields = ("name",)


class UserFilters(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(field_name="user__username")
    email = filters.CharFilter(field_name="user__email")
    tier = filters.CharFilter(field_name="tier__name")
    is_active = filters.BooleanFilter(field_name="user__is_active")


@extend_schema_view(
    create=extend_schema(request=NewUserSerializer, responses={201: UserSerializer}),
    update=extend_schema(description="A user's tier and limits. Users are deactivated, not deleted."),
)
class UserViewSet(
    Resource,
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.ListModelMixin,
    GenericViewSet[Account],
):
    """Users with the tier and limits of their accounts, by their public id (`usr_…`). Users see only themselves."""

    noun = "user"
    queryset = Account.objects.select_related("user", "tier")
    serializer_class = UserSerializer
    filterset_class = UserFilters
    search_fields = ("user__username", "user__email", "public_id")
    lookup_field = "public_id"
    lookup_url_kwarg = "id"
    lookup_value_regex = "usr_[a-z0-9]+"
    owner_field = "user"
    owner_actions = ("list", "retrieve")

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = NewUserSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return Response(self.get_serializer(serializer.save()).data, status=status.HTTP_201_CREATED)


class GlobalLimitsView(StrictView, APIView):
    """What all requests together may use."""

    queryset = GlobalLimits.objects.all()

    @extend_schema(operation_id="limits_global_retrieve", responses=GlobalLimitsSerializer)
    def get(self, request: Request) -> Response:
        return Response(GlobalLimitsSerializer(GlobalLimits.current()).data)

    @extend_schema(
        operation_id="limits_global_partial_update", request=GlobalLimitsSerializer, responses=GlobalLimitsSerializer
    )
    def patch(self, request: Request) -> Response:
        serializer = GlobalLimitsSerializer(GlobalLimits.current(), data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data)
