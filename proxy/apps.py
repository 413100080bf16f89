from typing import Any

from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"
    verbose_name = "Proxy"

    def ready(self) -> None:
        from django.db.models.signals import pre_migrate

        import cache.changes
        import keys.changes
        import providers.changes
        import usage.changes
        from proxy.configuration.changes import record
        from usage.audit.changes import after_action

        pre_migrate.connect(take_all_the_time, sender=self)
        keys.changes.changed.connect(record)
        providers.changes.changed.connect(record)
        usage.changes.changed.connect(record)
        cache.changes.changed.connect(record)
        keys.changes.acted.connect(after_action)
        providers.changes.acted.connect(after_action)


def take_all_the_time(using: str, **_: Any) -> None:
    """Remove the time limits on statements, because a migration may take longer. Its connection ends with it."""
    from django.db import connections

    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
