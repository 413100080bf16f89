from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "usage"
    verbose_name = "Usage"

    def ready(self) -> None:
        from usage.alerts import watch
        from usage.audit.changes import connect

        connect()
        watch.connect()
