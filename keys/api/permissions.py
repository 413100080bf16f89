"""What a user may do through the management API.

Staff may do what Django's permissions on the model say, with all rows. Everybody else who is signed in may do with the
rows of their own what the view names in `owner_actions`; `owner_field` is where a row names its owner. A row of
somebody else's is not there (404) for those who have no permission for all rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.filters import BaseFilterBackend
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports this module, by DRF's settings

VERBS = {
    "GET": "view",
    "HEAD": "view",
    "OPTIONS": "view",
    "POST": "add",
    "PUT": "change",
    "PATCH": "change",
    "DELETE": "delete",
}


def holds_permission(request: Request, view: APIView) -> bool:
    """Whether the caller is staff with the model's permission for the method, and so may do it with every row.

    A view without a model is for superusers alone.
    """
    user = request.user
    if not user.is_active or not user.is_staff:
        return False
    queryset = getattr(view, "queryset", None)
    if queryset is None:
        return bool(user.is_superuser)
    options = queryset.model._meta
    return user.has_perm(f"{options.app_label}.{_verb(request, view)}_{options.model_name}")


def _verb(request: Request, view: APIView) -> str:
    method = request.method or ""
    if method not in VERBS:
        raise MethodNotAllowed(method)
    if method == "POST" and getattr(view, "action", None) not in ("create", None):
        return "change"  # `revoke` and `rotate` make no row
    return VERBS[method]


class StaffOrOwner(BasePermission):
    """Staff with the permission, and owners with their own."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if holds_permission(request, view):
            return True
        user = request.user
        owned = getattr(view, "action", None) in getattr(view, "owner_actions", ())
        return owned and user.is_authenticated and user.is_active


class OwnRows(BaseFilterBackend):
    """For those who have no permission for all rows: theirs alone."""

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> Any:
        if holds_permission(request, view):
            return queryset
        owner_field: str | None = getattr(view, "owner_field", None)
        return queryset.filter(**{owner_field: request.user.pk}) if owner_field else queryset.none()


class SignedIn(BasePermission):
    """Whoever is known and active."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.is_authenticated and request.user.is_active)
