"""`manage.py configuration`: shows the configuration's version, and makes every process read it again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys.management.cli import ManagementCLI
from keys.management.connections import Connection


class Command(BaseCommand):
    help = "The configuration's version, here or, with --api-url, of another Sluice."
    requires_system_checks = ()  # a remote Sluice needs nothing of this installation

    @property
    def cli(self) -> ManagementCLI:
        return ManagementCLI(self, ())

    def add_arguments(self, parser: CommandParser) -> None:
        self.cli.read(
            parser,
            {
                "version": (self.version, "Show the version, which grows with every change, and what there is."),
                "reload": (self.reload, "Have every process read all of it anew."),
            },
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def version(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("GET", "config/version"), ""

    def reload(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("POST", "config/reload"), ""
