"""`manage.py requests`: list and show requests, delete old ones, and make PostgreSQL's partitions."""

from __future__ import annotations

import argparse
import re
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from shown.words import counted
from strict.ports import COMMAND_LINE, CommandLine
from usage.ids import time_of
from usage.ledger import partitions
from usage.ledger.retention import prune_requests
from usage.ledger.search import MEANS
from usage.management.reading import add_filters, listed
from usage.management.tables import table
from usage.records import Outcome

COLUMNS = ("id", "created_at", "key_name", "provider", "model", "status_code", "outcome", "cost_usd", "duration_ms")
FILTERS = {
    "key": "Its number.",
    "project": "Its name or number.",
    "user": "Its number.",
    "team": "Its number.",
    "provider": "Its name.",
    "model": "As it was asked for.",
    "endpoint": "Its path, such as /v1/chat/completions.",
    "status_code": "As the client got it.",
    "outcome": Outcome.values,
    "stream": ("true", "false"),
    "response_id": "Of the answer.",
    "correlation_id": "The client's.",
    "created_after": "ISO 8601, such as 2027-01-01T00:00:00Z; from then on.",
    "created_before": "ISO 8601; before then.",
    "search": MEANS,
}


class Command(BaseCommand):
    help = "Requests that went through, here or, with --api-url, another Sluice; and their table of this installation."
    requires_system_checks = ()  # a remote one needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """The commands' shared part belongs to another app, which this one does not import (`config/ports.py`)."""
        return COMMAND_LINE()(self, ("name", "first", "end"))

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "list": (self.list, "List requests, newest first."),
                "show": (self.show, "Show one request."),
                "prune": (self.prune, "Forget requests older than REQUEST_RETENTION_DAYS. What was spent stays."),
                "partitions": (self.partitions, "Make PostgreSQL's partitions of the coming weeks, and list all."),
            },
        )
        add_filters(verbs["list"], FILTERS)
        verbs["show"].add_argument("--id", type=_request_id, required=True)
        verbs["prune"].add_argument(
            "--days", type=int, choices=range(1, 36_501), metavar="N", help="Instead of REQUEST_RETENTION_DAYS."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["api_url"] and options["verb"] in ("prune", "partitions"):
            raise self.cli.refuse("The requests' table is kept where it is, not from afar.")
        try:
            self.cli.run(options)
        except partitions.TableBusy as error:
            raise self.cli.refuse(str(error)) from None

    def list(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        page = listed(api, "requests", FILTERS, options)
        return page, table(COLUMNS, page["results"])

    def show(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("GET", f"requests/{options['id']}"), ""

    def prune(self, _api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        days = options["days"] or settings.REQUEST_RETENTION_DAYS
        if not days:
            return {"partitions": [], "rows": 0}, "REQUEST_RETENTION_DAYS is 0: requests are kept for ever."
        dropped, rows = prune_requests(days=days)
        text = f"Dropped {counted(len(dropped), 'partition')} and deleted {counted(rows, 'row')} beside them."
        return {"partitions": dropped, "rows": rows}, text

    def partitions(self, _api: Any, _options: dict[str, Any]) -> tuple[Any, str]:
        partitions.make_ahead()
        rows = [
            {"name": each.name, "first": render_bound(each.first), "end": render_bound(each.end)}
            for each in partitions.partitions()
        ]
        return {"results": rows}, "" if rows else "This database has no partitions: they are PostgreSQL's."


def render_bound(bound: str) -> str:
    moment = time_of(bound)
    return bound if moment is None else moment.isoformat()


def _request_id(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a request's id")
    return text
