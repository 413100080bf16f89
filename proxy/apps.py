from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"
    verbose_name = "Proxy"

    def ready(self) -> None:
        import keys.changes
        import providers.changes
        from proxy.changes import record

        keys.changes.changed.connect(record)
        providers.changes.changed.connect(record)
