"""The addresses of the control plane."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from keys.admin.login import login
from keys.api.self_service import Login, NothingHere, OwnKey, OwnKeys, Signup

admin.site.site_header = "Sluice"
admin.site.site_title = "Sluice"
admin.site.index_title = "Administration"

handler400 = "config.failures.bad_request"
handler403 = "config.failures.forbidden"
handler404 = "config.failures.not_found"
handler500 = "config.failures.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url=static("sluice/favicon.svg"))),
    path("admin/login/", login),
    path("admin/", admin.site.urls),
    path("api/", include("config.api")),
    # The paths under /v1/ that config/asgi.py gives to this plane.
    re_path(r"^v1/auth/signup/?$", Signup.as_view(), name="signup"),
    re_path(r"^v1/auth/login/?$", Login.as_view(), name="login"),
    re_path(r"^v1/keys/?$", OwnKeys.as_view()),
    re_path(r"^v1/keys/(?P<prefix>[A-Za-z0-9_-]+)/?$", OwnKey.as_view()),
    path("v1/<path:rest>", NothingHere.as_view()),
]
