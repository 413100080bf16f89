from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"
    verbose_name = "Proxy"

    def ready(self) -> None:
        import keys.changes
        import providers.changes
        import usage.changes
        from proxy.changes import record
        from usage.audit.changes import after_action

        keys.changes.changed.connect(record)
        providers.changes.changed.connect(record)
        usage.changes.changed.connect(record)
        keys.changes.acted.connect(after_action)
        providers.changes.acted.connect(after_action)
