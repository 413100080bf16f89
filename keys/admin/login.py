"""The admin's sign-in page. It has the same throttle as the API's, and answers 429 when that refuses."""

from __future__ import annotations

from http import HTTPStatus

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from keys.api.login_throttles import ThrottledLoginForm

admin.site.login_form = ThrottledLoginForm


def login(request: HttpRequest) -> HttpResponse:
    response = admin.site.login(request)
    wait_s = getattr(request, "throttled_for_s", None)
    if wait_s is not None:
        response.status_code = HTTPStatus.TOO_MANY_REQUESTS
        response["Retry-After"] = str(wait_s)
    return response
