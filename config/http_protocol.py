"""The server's HTTP protocol, for uvicorn to load: before the application, so Django is set up here."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from proxy.server.protocol import HttpProtocol  # noqa: E402

__all__ = ["HttpProtocol"]
