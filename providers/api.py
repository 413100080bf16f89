"""Providers and credentials in the management API."""

from __future__ import annotations

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.viewsets import ModelViewSet

from providers.kinds import KINDS
from providers.models import Credential, Provider
from providers.serializers import CredentialSerializer, CredentialUpdateSerializer, ProviderSerializer
from strict.resource import Resource


class ProviderFilters(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter()
    kind = filters.ChoiceFilter(choices=[(kind, kind) for kind in KINDS])
    is_enabled = filters.BooleanFilter()


class ProviderViewSet(Resource, ModelViewSet[Provider]):
    """The providers that requests may go to. Deleting a provider deletes the credentials that are bound to it."""

    noun = "provider"
    queryset = Provider.objects.select_related("health")
    serializer_class = ProviderSerializer
    filterset_class = ProviderFilters
    search_fields = ("name", "base_url")


class CredentialFilters(filters.FilterSet):  # type: ignore[misc]
    alias = filters.CharFilter()
    provider = filters.NumberFilter(field_name="provider_id", min_value=1, max_value=2**63 - 1, decimal_places=0)


@extend_schema_view(update=extend_schema(request=CredentialUpdateSerializer))
class CredentialViewSet(Resource, ModelViewSet[Credential]):
    """Upstream credentials: secrets, each with an alias. Only their masks are ever shown."""

    noun = "credential"
    queryset = Credential.objects.select_related("provider")
    serializer_class = CredentialSerializer
    filterset_class = CredentialFilters
    search_fields = ("alias",)
