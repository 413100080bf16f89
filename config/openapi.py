"""The management API in OpenAPI: requests apart from responses, and the errors of each operation."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, extend_schema_serializer
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, AllowAny

from strict.members import Strict

JSON = ["application/json"]

ERRORS = {
    "400": "The request says what nobody understands, or what cannot be. `errors` names each member and parameter.",
    "401": "Nobody is signed in, or the token is not valid.",
    "403": "The caller may not do this.",
    "404": "There is no such row, or it is somebody else's.",
    "406": "`Accept` asks for what this operation has not.",
    "409": "The change does not go with what there is, or with another change at the same time.",
    "413": "The body is too large.",
    "415": "The body is not JSON by its `Content-Type`.",
    "503": "The database does not answer at the moment; `Retry-After` says when to try again.",
}
"""The descriptions of the error responses."""


@extend_schema_serializer(component_name="Error")
class ErrorSerializer(serializers.Serializer[Any]):
    """Every error has this shape."""

    detail = serializers.CharField(help_text="What is wrong, in a line for people.")
    code = serializers.CharField(help_text="What is wrong, for programs.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        help_text="What is wrong with each member or parameter; empty where it is none of them.",
    )


class ManagementSchema(AutoSchema):
    """drf-spectacular's schema, with the errors of each operation, and with no unknown members in request bodies."""

    view: Any

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for status in self._errors():
            error = OpenApiResponse(ErrorSerializer, ERRORS[status])
            bodies[status] = self._get_response_for_code(error, status, JSON, direction)  # type: ignore[no-untyped-call]
        return dict(sorted(bodies.items()))

    def _errors(self) -> list[str]:
        is_open = any(isinstance(permission, AllowAny) for permission in self.view.get_permissions())
        changes = self.method not in SAFE_METHODS
        names_a_row = "{" in self.path or self._action() in self.view.seeking
        happen = {
            "401": not is_open,
            "403": not is_open,
            "404": names_a_row,
            "409": changes and not self.view.is_question,
            "413": changes,
            "415": changes,
        }
        return [status for status in ERRORS if happen.get(status, True)]

    def _action(self) -> str:
        return getattr(self.view, "action", None) or self.method.lower()

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> dict[str, Any]:
        schema: dict[str, Any] = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "request" and isinstance(serializer, Strict):
            schema["additionalProperties"] = False
            for name, example in serializer.required_examples.items():
                schema["properties"][name]["example"] = example
            if serializer.required_examples and not getattr(serializer, "partial", False):
                schema["required"] = sorted({*schema.get("required", []), *serializer.required_examples})
        if direction == "response" and isinstance(serializer, Strict | serializers.ModelSerializer):
            # Answers have whole rows, whichever members may be left out of a request.
            schema["required"] = sorted(name for name, field in schema["properties"].items() if not hidden(field))
        if "__doc__" not in vars(type(serializer)) or type(serializer).__doc__ is None:
            schema.pop("description", None)  # it is that of a base class, which is written for developers
        return schema

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        """A field that accepts more types than it returns names in `shown_as` what it returns."""
        shown_as = getattr(field, "shown_as", None)
        if direction == "response" and shown_as is not None:
            return {**shown_as, **self._get_serializer_field_meta(field, direction)}  # type: ignore[no-untyped-call]
        return super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]


def hidden(field: dict[str, Any]) -> bool:
    return bool(field.get("writeOnly"))
