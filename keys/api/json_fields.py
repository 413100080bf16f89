"""JSON columns in the management API. The models validate them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keys.ruled import validate_headers, validate_methods, validate_origins, validate_params, validate_paths


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class TextsField(serializers.JSONField):
    """A list of texts, validated by the model: a `ListField` would turn numbers into texts."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class ObjectField(serializers.JSONField):
    pass


@extend_schema_field({"type": "object", "additionalProperties": {"type": "array", "items": {}}})
class ParamsField(serializers.JSONField):
    pass


@extend_schema_field({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}})
class HeadersField(serializers.JSONField):
    pass


class RulesSerializer(serializers.Serializer[Any]):
    """A project's rules. The validators are repeated here, because validation of a model skips empty values."""

    allowed_params = ParamsField(
        required=False, validators=[validate_params], help_text="Member of the body, dotted, to its allowed values."
    )
    allowed_origins = TextsField(required=False, validators=[validate_origins], help_text="Origins of pages, or globs.")
    required_headers = HeadersField(
        required=False, validators=[validate_headers], help_text="Header to its allowed values; empty: any."
    )
    allowed_methods = TextsField(required=False, validators=[validate_methods], help_text="Empty: every method.")
    allowed_paths = TextsField(required=False, validators=[validate_paths], help_text="Globs. Empty: every path.")
