"""Accounts under `/v1/`: sign up, sign in, mint and revoke one's own keys. Errors have OpenAI's shape."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.http import HttpResponse
from django.utils import timezone
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from keys.api.errors import answer
from keys.api.login_throttles import ByAddress, ByEmail
from keys.api.permissions import SignedIn
from keys.models import Account, VirtualKey
from keys.ports import OPENAI_ERROR
from keys.signup import LEAST_PASSWORD, MOST_EMAIL, MOST_PASSWORD, EmailTaken, make_user
from keys.user_tokens import UserTokenAuthentication, issue_token
from strict.errors import ErrorDocument
from strict.members import Strict
from strict.queries import StrictView

TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class SelfServiceView(StrictView, APIView):
    """The base of these endpoints: DRF checks requests, and errors have OpenAI's shape."""

    schema = None  # the OpenAPI document describes only the management API
    authentication_classes: Any = (UserTokenAuthentication,)
    permission_classes: Any = (SignedIn,)

    def handle_exception(self, exc: Exception) -> Any:
        return OpenAIError(super().handle_exception(exc))

    def get_exception_handler(self) -> Any:
        return answer


class OpenAIError(HttpResponse):
    """An error of DRF in OpenAI's shape, which another app writes."""

    def __init__(self, response: Any) -> None:
        message, param, code = words_of(response.data)
        status = response.status_code
        kind = TYPES.get(status, "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error")
        headers = {**response.headers, "Content-Type": "application/json", "Cache-Control": "no-store"}
        body = OPENAI_ERROR()(message, kind, param, code)
        super().__init__(body, status=status, headers=headers)
        self.data = {"code": code}
        """The audit log reads it from every response of DRF."""


def words_of(problem: ErrorDocument) -> tuple[str, str | None, str]:
    """Message, parameter and code of an error document.

    An error of OpenAI has one parameter, so the first one is taken.
    """
    param = next(iter(problem["errors"]), None)
    message = problem["detail"] if param is None else " ".join(problem["errors"][param])
    is_invalid = problem["code"] == exceptions.ValidationError.default_code
    return message, param, "invalid_value" if is_invalid else problem["code"]


class EmailField(serializers.EmailField):
    def __init__(self) -> None:
        super().__init__(max_length=MOST_EMAIL)


class PasswordField(serializers.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MOST_PASSWORD, trim_whitespace=False, **options)


class SignupSerializer(Strict, serializers.Serializer[Any]):
    email = EmailField()
    password = PasswordField(min_length=LEAST_PASSWORD)


class LoginSerializer(Strict, serializers.Serializer[Any]):
    email = serializers.CharField(max_length=MOST_EMAIL)
    password = PasswordField()


class Signup(SelfServiceView):
    """`{email, password}` → `{user_id, api_key}`."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (ByAddress,)

    def post(self, request: Request) -> Response:
        if not settings.SIGNUP_ENABLED:
            raise exceptions.PermissionDenied(
                "This gateway takes no sign-ups. Ask whoever runs it for an account.", code="signup_disabled"
            )
        fields = read_fields(SignupSerializer, request)
        try:
            account = Account.of(make_user(fields["email"], fields["password"]))
        except EmailTaken as error:
            raise AddressTaken(str(error)) from None
        _, token = mint_for(account, "first key")
        return uncached_response({"user_id": account.public_id, "api_key": token}, HTTPStatus.CREATED)


class AddressTaken(exceptions.APIException):
    status_code = HTTPStatus.BAD_REQUEST
    default_code = "email_taken"


class Login(SelfServiceView):
    """`{email, password}` → `{token, expires_in}`."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (ByAddress, ByEmail)

    def post(self, request: Request) -> Response:
        fields = read_fields(LoginSerializer, request)
        # Django hashes the password even if there is no such user, so the time taken does not tell whether there is.
        user = authenticate(request._request, username=fields["email"].strip().lower(), password=fields["password"])
        if user is None:
            raise WrongCredentials
        user_logged_in.send(sender=type(user), request=request._request, user=user)
        return uncached_response(
            {"token": issue_token(user, timezone.now()), "expires_in": settings.JWT_EXPIRY_SECONDS}
        )


class WrongCredentials(exceptions.APIException):
    status_code = HTTPStatus.UNAUTHORIZED
    default_code = "invalid_credentials"
    default_detail = "The e-mail address or the password is wrong, or the account is not active."


class KeyRequestSerializer(Strict, serializers.Serializer[Any]):
    name = serializers.CharField(max_length=60, required=False)


class OwnKeys(SelfServiceView):
    """Mint a key for oneself: `{name}` → `{api_key, prefix}`."""

    queryset = VirtualKey.objects.all()

    def post(self, request: Request) -> Response:
        fields = read_fields(KeyRequestSerializer, request)
        account = Account.of(request.user)
        key, token = mint_for(account, fields.get("name"))
        return uncached_response({"api_key": token, "prefix": prefix_of(key)}, HTTPStatus.CREATED)


class OwnKey(SelfServiceView):
    queryset = VirtualKey.objects.all()

    def delete(self, request: Request, prefix: str) -> Response:
        """Revoke the key with this prefix, which minting returned."""
        public_id = prefix.removeprefix(settings.KEY_PREFIX)
        key = VirtualKey.objects.filter(owner=request.user.pk, public_id=public_id).first()
        if key is None:
            raise exceptions.NotFound("You have no key of this prefix.")
        key.revoke()
        return uncached_response({"revoked": True})


def read_fields(serializer_class: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The body's fields. Raises `ValidationError`."""
    serializer = serializer_class(data=request.data)
    serializer.is_valid(raise_exception=True)
    fields: dict[str, Any] = serializer.validated_data
    return fields


def uncached_response(document: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return Response(document, status=status, headers={"Cache-Control": "no-store"})


def mint_for(account: Account, name: str | None) -> tuple[VirtualKey, str]:
    """Mint a key in the project `default`. Names are unique there, so the name begins with the account's id."""
    return VirtualKey.objects.mint(name=f"{account.public_id} {name or secrets.token_hex(4)}", owner=account.user)


def prefix_of(key: VirtualKey) -> str:
    """The beginning of the token, up to its secret."""
    return settings.KEY_PREFIX + key.public_id


class NothingHere(SelfServiceView):
    """Answers 404 to the other paths under `/v1/` that the control plane gets."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        raise exceptions.NotFound
