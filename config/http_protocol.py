"""The server's HTTP protocol for uvicorn. uvicorn loads it before the application, so this sets Django up."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from proxy.server.protocol import HttpProtocol  # noqa: E402

__all__ = ["HttpProtocol"]
