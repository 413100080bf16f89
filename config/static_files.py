"""Static files of the pages: their addresses, and the middleware that serves them."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from django.urls import get_script_prefix
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(StaticFilesStorage):
    """Addresses below the prefix that a trusted proxy has for Sluice. It differs by request, so it is not kept."""

    def url(self, name: str | None) -> str:
        return get_script_prefix().rstrip("/") + super().url(name)


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """WhiteNoise, but it looks for the files at the first request for one, so that a start does not wait for it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        self._is_to_look = False
        super().__init__(*arguments, **options)

    def add_files_from_finders(self) -> None:
        self._is_to_look = True

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if self._is_to_look and request.path_info.startswith(self.static_prefix):
            with self._lock:
                if self._is_to_look:
                    super().add_files_from_finders()
                    self._is_to_look = False
        response: HttpResponse = super().__call__(request)
        return response
