"""`manage.py audit`: read the audit log, and shorten it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from shown.words import counted
from strict.ports import COMMAND_LINE, CommandLine
from usage.audit.entry import ActorKind, Result
from usage.audit.prune import prune
from usage.management.reading import listed

FILTERS = ("actor_kind", "actor", "action", "target_kind", "target_id", "target", "result", "code", "status_code",
           "ip", "request_id", "created_after", "created_before", "search")  # fmt: skip
CHOICES: dict[str, list[str]] = {"actor_kind": ActorKind.values, "result": Result.values}


class Command(BaseCommand):
    help = "The audit log, here or, with --api-url, of another Sluice."
    requires_system_checks = ()  # a remote one needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """The commands' shared part belongs to another app, which this one does not import (`config/ports.py`)."""
        columns = ("created_at", "actor_kind", "actor", "action", "target_kind", "target", "result", "code", "ip")
        return COMMAND_LINE()(self, columns)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "list": (self.list, "List entries, newest first."),
                "prune": (self.prune, "Delete old entries of this installation, and leave an entry that says so."),
            },
        )
        for name in FILTERS:
            verbs["list"].add_argument(f"--{name.replace('_', '-')}", choices=CHOICES.get(name))
        verbs["list"].add_argument("--limit", type=int, default=100, help="Most entries listed; 0: all.")
        verbs["prune"].add_argument(
            "--before", type=_moment, required=True, metavar="TIME", help="ISO 8601: 2026-01-01 or 2026-01-01T12:00Z."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def list(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return listed(api, "audit", FILTERS, options), ""

    def prune(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        if options["api_url"]:
            raise self.cli.refuse("The audit log is shortened where it is, not from afar.")
        deleted = prune(options["before"])
        return {"deleted": deleted}, f"Deleted {counted(deleted, 'entry', 'entries')}."


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write a date or time as ISO 8601, such as 2026-01-01") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
