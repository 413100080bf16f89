"""The management API: each app's resources under one roof."""

from __future__ import annotations

from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from keys.api import KeyViewSet, ProjectViewSet
from providers.api import CredentialViewSet, ProviderViewSet
from usage.api import RequestViewSet


class UnknownAddress(APIView):
    """What no resource answers to, in the API's own shape of errors."""

    schema = None
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        raise NotFound

    def get(self, request: Request, *args: object, **kwargs: object) -> Response:
        raise NotFound


router = SimpleRouter()
router.trailing_slash = "/?"
router.register("projects", ProjectViewSet)
router.register("keys", KeyViewSet)
router.register("providers", ProviderViewSet)
router.register("credentials", CredentialViewSet)
router.register("requests", RequestViewSet)

urlpatterns = [
    path("", RedirectView.as_view(url="/api/docs/")),
    re_path(r"^schema/?$", SpectacularAPIView.as_view(), name="schema"),
    re_path(r"^docs/?$", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include(router.urls)),
    re_path(r"", UnknownAddress.as_view()),
]
