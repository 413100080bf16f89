"""Where pages find their static files."""

from __future__ import annotations

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.urls import get_script_prefix


class StaticFiles(StaticFilesStorage):
    """Below the prefix that a trusted proxy has for Sluice; another one for another request, so it is not kept."""

    def url(self, name: str | None) -> str:
        return get_script_prefix().rstrip("/") + super().url(name)
