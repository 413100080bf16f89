"""`manage.py alerts`: list budgets and soft thresholds that were reached."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from strict.ports import COMMAND_LINE, CommandLine
from usage.alerts.alert import Level
from usage.alerts.api import SCOPES
from usage.management.reading import add_filters, listed

FILTERS = {
    "level": Level.values,
    "scope": [kind for kind, _ in SCOPES],
    "scope_id": "Of the key, user, team or project.",
    "created_after": "ISO 8601, such as 2027-01-01T00:00:00Z; from then on.",
    "created_before": "ISO 8601; before then.",
}


class Command(BaseCommand):
    help = "Budgets and soft thresholds that were reached, here or, with --api-url, at another Sluice."
    requires_system_checks = ()  # a remote one needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """The commands' shared part belongs to another app, which this one does not import (`config/ports.py`)."""
        columns = ("id", "created_at", "level", "scope", "name", "period", "limit_usd", "spent_usd", "budget_usd")
        return COMMAND_LINE()(self, columns)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(parser, {"list": (self.list, "List alerts, newest first; --json tells who was told.")})
        add_filters(verbs["list"], FILTERS)

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def list(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return listed(api, "alerts", FILTERS, options), ""
