"""`manage.py usage`: reports of usage, and the state of budgets."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from strict.ports import COMMAND_LINE, CommandLine
from usage.management.tables import table
from usage.reports.answer import csv_columns, csv_lines
from usage.reports.question import NOUNS, TAG
from usage.reports.spans import Period

NUMBERS = ("requests", "errors", "refused", "prompt_tokens", "completion_tokens", "cost_usd", "unpriced_requests")
BUDGET_COLUMNS = ("kind", "id", "name", "budget", "period", "spent", "remaining", "percent", "crossed", "resets_at")


class Command(BaseCommand):
    help = "What was used and spent, here or, with --api-url, at another Sluice."
    requires_system_checks = ()  # a remote one needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """The commands' shared part belongs to another app, which this one does not import (`config/ports.py`)."""
        return COMMAND_LINE()(self, BUDGET_COLUMNS)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "report": (self.report, "Sums of requests, tokens and cost, by time and by whom or what."),
                "budgets": (self.budgets, "Where each budget stands."),
            },
        )
        report = verbs["report"]
        report.add_argument(
            "--group-by", default="", metavar="NOUNS", help=f"Any of {', '.join(NOUNS)}: a,b; or {TAG}."
        )
        report.add_argument("--period", choices=Period.values, default=Period.DAY)
        report.add_argument("--from", dest="since", metavar="TIME", help="ISO 8601; default: 30 days.")
        report.add_argument("--to", dest="until", metavar="TIME", help="Not included; default: the end of today.")
        report.add_argument("--time-zone", help="Where days begin, such as Europe/Berlin.")
        for noun in NOUNS:
            report.add_argument(f"--{noun}", help="Its number." if noun == "key" else "Its name, or number.")
        report.add_argument("--tag", help="Requests that have it.")
        report.add_argument("--fill", action="store_true", default=None, help="Also where nothing was used.")
        report.add_argument("--csv", action="store_true", help="Print a CSV file and nothing else.")
        verbs["budgets"].add_argument("--kind", choices=["global", "key", "project", "team", "user"])

    def handle(self, *args: Any, **options: Any) -> None:
        if options.get("csv") and options["json"]:
            raise CommandError("Either --csv or --json.", returncode=2)
        self.cli.run(options)

    def report(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        query = {name: options[name] for name in ("group_by", "period", "time_zone", "fill", *NOUNS, TAG)}
        filters = {name: value for name, value in query.items() if value is not None}
        first = api.call("GET", "usage", **filters, **{"from": options["since"], "to": options["until"]})
        # The span of the first answer is used for all pages, so that it stays the same however long they take.
        pages = api.everything("usage", **filters, **{name: first[name] for name in ("from", "to", "time_zone")})
        report = {**first, "next": None, "results": pages["results"]}
        nouns, rows = report["group_by"], report["results"]
        if options["csv"]:
            return report, csv_lines(csv_columns(nouns), rows, head=True)
        columns = ("from", *nouns, *NUMBERS)
        named = [{**row, **{noun: row.get(f"{noun}_name") or row[noun] for noun in nouns}} for row in rows]
        total = {**dict.fromkeys(columns), **report["totals"], "from": "total"}
        return report, table(columns, [*named, total])

    def budgets(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        kind = {} if options["kind"] is None else {"kind": options["kind"]}
        return api.everything("usage/budgets", **kind), ""
