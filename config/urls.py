"""The control plane's addresses."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

admin.site.site_header = "Sluice"
admin.site.site_title = "Sluice"
admin.site.index_title = "Administration"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url=static("sluice/favicon.svg"))),
    path("admin/", admin.site.urls),
    path("api/", include("config.api")),
]
