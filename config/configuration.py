"""The version of the configuration, and a command to read all of it again."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from keys.models import Account, Project, Team, VirtualKey
from providers.models import Credential, Provider
from proxy.configuration.changes import current_version, reload_everything
from proxy.models import ConfigChange
from strict.queries import StrictView


class VersionSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(help_text="It grows with every change.")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text="Rows by noun.")


class VersionView(StrictView, APIView):
    queryset = ConfigChange.objects.all()

    @extend_schema(operation_id="config_version", responses=VersionSerializer)
    def get(self, request: Request) -> Response:
        """The version of the configuration, and how many rows it has."""
        return Response(version_and_counts())


class ReloadView(StrictView, APIView):
    bodiless = frozenset({"post"})
    queryset = ConfigChange.objects.all()

    @extend_schema(operation_id="config_reload", request=None, responses=VersionSerializer)
    def post(self, request: Request) -> Response:
        """Make every process read all of the configuration again, within a second."""
        reload_everything()
        return Response(version_and_counts())


def version_and_counts() -> dict[str, Any]:
    nouns = {
        "projects": Project,
        "keys": VirtualKey,
        "teams": Team,
        "users": Account,
        "providers": Provider,
        "credentials": Credential,
    }
    counts = {noun: model._default_manager.count() for noun, model in nouns.items()}
    return {"version": current_version(), "counts": counts}
