"""Tells whether a key, or the caller, would be accepted. The answer is 200 even if not."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, ParseError, UnsupportedMediaType
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from keys.access import InvalidKey, KeyRefused, MissingKey, check_project, check_secret, check_state
from keys.api.permissions import SignedIn
from keys.models import COUNTS, VirtualKey
from keys.models.virtual_key import STATUSES
from keys.records import load_keys
from keys.tokens import MalformedToken, read_token
from strict.members import Strict, check_members
from strict.queries import StrictView


class KeyQuestionSerializer(Strict, serializers.Serializer[Any]):
    key = serializers.CharField(help_text="The token to look at.")


class KeySummarySerializer(serializers.ModelSerializer[VirtualKey]):
    """What a client with a key's token may know about the key."""

    project_name = serializers.CharField(source="project.name")
    status = serializers.ChoiceField(choices=STATUSES)
    mask = serializers.CharField()
    allowed_models = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = VirtualKey
        fields = ("id", "name", "mask", "status", "project", "project_name", "owner", "expires_at", "allowed_models")
        read_only_fields = fields


class RateLimitsSerializer(serializers.ModelSerializer[VirtualKey]):
    """The key's own limits; its owner, team and project may have others."""

    class Meta:
        model = VirtualKey
        fields = (*COUNTS, "budget", "period")
        read_only_fields = fields


class KeyValidationSerializer(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    key_id = serializers.IntegerField(allow_null=True, help_text="Null: the token is nobody's.")
    error = serializers.CharField(
        allow_null=True, help_text="The `code` that a request with this key, or of such a body, would get."
    )
    key = KeySummarySerializer(allow_null=True)
    rate_limits = RateLimitsSerializer(allow_null=True)


class KeyValidationView(StrictView, APIView):
    """Whether a token would be accepted, and if not, the error with which it is refused. It counts against no limit."""

    is_question = True
    permission_classes = (SignedIn,)

    @extend_schema(operation_id="keys_validate", request=KeyQuestionSerializer, responses=KeyValidationSerializer)
    def post(self, request: Request) -> Response:
        try:
            key, refusal = judge(read_token_text(request))
        except BadQuestion as problem:
            return validation_response(None, problem.code)
        return validation_response(key, refusal.code if refusal else None)


class BadQuestion(Exception):
    """A body without a question. `code` is the code that the proxy gives it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_token_text(request: Request) -> Any:
    """The value of `key` in the body. Raises `BadQuestion`, `ValidationError`."""
    try:
        body = request.data
    except ParseError:
        raise BadQuestion("invalid_json") from None
    except UnsupportedMediaType:
        raise BadQuestion("unsupported_media_type") from None
    if not isinstance(body, dict):
        raise BadQuestion("invalid_json")
    check_members(body, KeyQuestionSerializer().fields)
    return body.get("key")


def validation_response(key: VirtualKey | None, error: str | None) -> Response:
    answer = {"valid": error is None, "key_id": key and key.pk, "error": error, "key": key, "rate_limits": key}
    return Response(KeyValidationSerializer(answer).data)


def judge(value: Any) -> tuple[VirtualKey | None, KeyRefused | None]:
    """The key that this token belongs to, and why it is refused, by the same checks as for requests."""
    if value is None or value == "":
        return None, MissingKey()
    try:
        token = read_token(value if isinstance(value, str) else "", settings.KEY_PREFIX)
    except MalformedToken:
        return None, InvalidKey()
    record, project = load_keys([token.public_id]).get(token.public_id, (None, None))
    if record is None:
        return None, InvalidKey()
    refusal: KeyRefused | None = None
    try:
        check_secret(record, token.secret)
        check_state(record, timezone.now().timestamp())
        check_project(project)
    except InvalidKey as error:
        return None, error  # a client without the secret learns nothing about the key
    except KeyRefused as error:
        refusal = error
    return VirtualKey.objects.select_related("project", "owner").get(pk=record.id), refusal


class CallerValidationSerializer(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    message = serializers.CharField()


class CallerValidationView(StrictView, APIView):
    """Whether the credentials of this request are accepted."""

    is_question = True
    permission_classes = (AllowAny,)
    bodiless = frozenset({"post"})

    def perform_authentication(self, request: Request) -> None:
        """Left to `post`, which answers 200 to wrong credentials, too."""

    @extend_schema(operation_id="auth_validate", request=None, responses=CallerValidationSerializer)
    def post(self, request: Request) -> Response:
        try:
            user = request.user
        except AuthenticationFailed as error:
            return Response({"valid": False, "message": str(error.detail)})
        if not (user.is_authenticated and user.is_active):
            return Response({"valid": False, "message": "No credentials were sent."})
        return Response({"valid": True, "message": f"You are {user.get_username()}."})
