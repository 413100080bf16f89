"""The management API: the resources of all apps, under one prefix."""

from __future__ import annotations

from django.http import HttpResponseRedirect
from django.urls import include, path, re_path, reverse
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from cache.api import CachedResponseViewSet, CachePurgeView, CacheView
from config.configuration import ReloadView, VersionView
from keys.api import schemes  # noqa: F401 (drf-spectacular finds what was imported)
from keys.api.accounts import GlobalLimitsView, TeamViewSet, TierViewSet, UserViewSet
from keys.api.budgets import BudgetsView
from keys.api.keys import KeyViewSet, ProjectViewSet
from keys.api.validation import CallerValidationView, KeyValidationView
from providers.api import CredentialViewSet, ProviderViewSet
from strict.queries import StrictView
from usage.alerts.api import AlertViewSet
from usage.audit.api import AuditViewSet
from usage.ledger.api import RequestViewSet
from usage.prices.api import PriceViewSet
from usage.reports.api import UsageViewSet


class SchemaView(StrictView, SpectacularAPIView):
    pass


class Front(StrictView, APIView):
    """`/api/` itself: redirects people to the page of the documentation."""

    schema = None
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> HttpResponseRedirect:
        return HttpResponseRedirect(reverse("docs"))


class UnknownAddress(APIView):
    """Answers the addresses that no resource has, with the API's own shape of errors."""

    schema = None
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        raise NotFound("There is nothing at this address; /api/docs/ shows what there is.")


router = SimpleRouter()
router.trailing_slash = "/?"
router.register("projects", ProjectViewSet)
router.register("keys", KeyViewSet)
router.register("teams", TeamViewSet)
router.register("users", UserViewSet, basename="user")
router.register("tiers", TierViewSet)
router.register("providers", ProviderViewSet)
router.register("credentials", CredentialViewSet)
router.register("prices", PriceViewSet)
router.register("requests", RequestViewSet)
router.register("responses", CachedResponseViewSet)
router.register("alerts", AlertViewSet)
router.register("audit", AuditViewSet)
router.register("usage", UsageViewSet, basename="usage")

urlpatterns = [
    path("", Front.as_view()),
    re_path(r"^schema/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^docs/?$", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    re_path(r"^keys/validate/?$", KeyValidationView.as_view()),
    re_path(r"^auth/validate/?$", CallerValidationView.as_view()),
    re_path(r"^limits/global/?$", GlobalLimitsView.as_view()),
    re_path(r"^config/version/?$", VersionView.as_view()),
    re_path(r"^config/reload/?$", ReloadView.as_view()),
    re_path(r"^cache/?$", CacheView.as_view()),
    re_path(r"^cache/purge/?$", CachePurgeView.as_view()),
    re_path(r"^usage/budgets/?$", BudgetsView.as_view()),
    path("", include(router.urls)),
    re_path(r"", UnknownAddress.as_view()),
]
