"""The project itself as a Django app. It is loaded last, and fills the ports of the other apps."""

from __future__ import annotations

from django.apps import AppConfig


class RootConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        from django.db.backends.signals import connection_created

        from config import ports
        from config.silent_connections import watch

        connection_created.connect(watch)
        ports.fill()
