"""Captured bodies in the management API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from usage.bodies.record import RequestBodies


class BodySerializer(serializers.Serializer[Any]):
    content_type = serializers.CharField(help_text="As its head says.")
    encoding = serializers.ChoiceField(choices=["utf-8", "base64"], help_text="How `body` is told.")
    body = serializers.CharField(help_text="Redacted, and cut after BODY_CAPTURE_BYTES.")
    note = serializers.CharField(help_text="Why not all of it is here; blank: it is.")


class RequestBodiesSerializer(serializers.Serializer[RequestBodies]):
    id = serializers.CharField(help_text="The request's.")
    created_at = serializers.DateTimeField(help_text="When the request came.")
    request = serializers.SerializerMethodField()
    answer = serializers.SerializerMethodField()

    @extend_schema_field(BodySerializer)
    def get_request(self, bodies: RequestBodies) -> dict[str, Any]:
        return bodies.render("request")

    @extend_schema_field(BodySerializer)
    def get_answer(self, bodies: RequestBodies) -> dict[str, Any]:
        return bodies.render("answer")
