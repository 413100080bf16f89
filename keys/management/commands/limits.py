"""`manage.py limits`: shows and changes what all requests together may use."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.cli import ManagementCLI
from keys.management.connections import Connection
from keys.management.limit_options import add_limits, limit_fields

PATH = "limits/global"


class Command(BaseCommand):
    help = "Limits of the whole gateway, here or, with --api-url, of another Sluice."
    requires_system_checks = ()  # a remote Sluice needs nothing of this installation

    @property
    def cli(self) -> ManagementCLI:
        return ManagementCLI(self, ())

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser, {"show": (self.show, "Show them."), "set": (self.set, "Change them; `none` takes one away.")}
        )
        add_limits(verbs["set"])

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def show(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("GET", PATH), ""

    def set(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        body = limit_fields(options)
        if not body:
            raise CommandError("Say what to change.", returncode=2)
        return api.call("PATCH", PATH, body), ""
