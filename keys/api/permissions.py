"""What users may do through the management API.

Staff may do with all rows what Django's permissions on the model allow. Other signed-in users may do with their own
rows what a view lists in `owner_actions`; `owner_field` is the field with a row's owner. For users without permission
for all rows, the rows of others do not exist (404).
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
    """Whether the caller is staff with the model's permission for the method, which holds for every row.

    A view without a model is for superusers only.
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
        return "change"  # `revoke` and `rotate` add no row
    return VERBS[method]


class StaffOrOwner(BasePermission):
    """Allows staff with the permission, and owners for their own rows."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if holds_permission(request, view):
            return True
        user = request.user
        owned = getattr(view, "action", None) in getattr(view, "owner_actions", ())
        return owned and user.is_authenticated and user.is_active


class OwnRows(BaseFilterBackend):
    """Users without permission for all rows get only their own."""

    def filter_queryset(self, request: Request, queryset: Any, view: APIView) -> Any:
        if holds_permission(request, view):
            return queryset
        owner_field: str | None = getattr(view, "owner_field", None)
        return queryset.filter(**{owner_field: request.user.pk}) if owner_field else queryset.none()


class SignedIn(BasePermission):
    """Allows every active user who is signed in."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.is_authenticated and request.user.is_active)
