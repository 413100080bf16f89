"""The root as an app of Django's, the last one: it hands the others what they need of each other."""

from __future__ import annotations

from django.apps import AppConfig


class RootConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        from config import ports

        ports.fill()
