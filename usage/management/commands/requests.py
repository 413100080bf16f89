"""`manage.py requests`: what becomes of old requests, and where PostgreSQL puts new ones."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils.module_loading import import_string

from usage import partitions
from usage.ids import time_of
from usage.retention import prune_requests


class Command(BaseCommand):
    help = "The requests' table of this installation."
    requires_system_checks = ()

    @property
    def cli(self) -> Any:
        """The commands' shared part belongs to another app, which this one does not import (see settings.py)."""
        return import_string(settings.MANAGEMENT_CLI)(self, ("name", "first", "end"))

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "prune": (self.prune, "Forget requests older than REQUEST_RETENTION_DAYS. What was spent stays."),
                "partitions": (self.partitions, "Make PostgreSQL's partitions of the coming weeks, and list all."),
            },
        )
        verbs["prune"].add_argument(
            "--days", type=int, choices=range(1, 36_501), metavar="N", help="Instead of REQUEST_RETENTION_DAYS."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["api_url"]:
            raise self.cli.refuse("The requests' table is kept where it is, not from afar.")
        try:
            self.cli.run(options)
        except partitions.TableBusy as error:
            raise self.cli.refuse(str(error)) from None

    def prune(self, _api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        days = options["days"] or settings.REQUEST_RETENTION_DAYS
        if not days:
            return {"partitions": [], "rows": 0}, "REQUEST_RETENTION_DAYS is 0: requests are kept for ever."
        dropped, rows = prune_requests(days=days)
        text = f"Dropped {len(dropped)} partitions and deleted {rows} rows beside them."
        return {"partitions": dropped, "rows": rows}, text

    def partitions(self, _api: Any, _options: dict[str, Any]) -> tuple[Any, str]:
        partitions.make_ahead()
        rows = [
            {"name": each.name, "first": told(each.first), "end": told(each.end)} for each in partitions.partitions()
        ]
        return {"results": rows}, "" if rows else "This database has no partitions: they are PostgreSQL's."


def told(bound: str) -> str:
    moment = time_of(bound)
    return bound if moment is None else moment.isoformat()
