"""What a user may do through the management API: what Django's permissions on the model say, if the user is staff."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.exceptions import MethodNotAllowed
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


class StaffModelPermissions(BasePermission):
    """Staff with the model's permission for the method. A view without a model is for superusers alone."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        user = request.user
        if not user.is_active or not user.is_staff:
            return False
        queryset = getattr(view, "queryset", None)
        if queryset is None:
            return bool(user.is_superuser)
        options = queryset.model._meta
        return user.has_perm(f"{options.app_label}.{self._verb(request, view)}_{options.model_name}")

    def _verb(self, request: Request, view: APIView) -> str:
        method = request.method or ""
        if method not in VERBS:
            raise MethodNotAllowed(method)
        if method == "POST" and getattr(view, "action", None) not in ("create", None):
            return "change"  # `revoke` and `rotate` make no row
        return VERBS[method]
