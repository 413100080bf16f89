"""`manage.py rollups`: compare the sums with the ledger, and repair them."""

from __future__ import annotations

import argparse
import json
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from usage.rollups.check import check


class Command(BaseCommand):
    help = "The sums by hour and day that reports are made from, of this installation."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        verbs.add_parser("check", help="Compare them with the ledger; exit code 1 where they differ.")
        verbs.add_parser("rebuild", help="Compare them with the ledger, and mend what differs.")
        for verb in verbs.choices.values():
            verb.add_argument(
                "--since", type=_day, metavar="DAY", help="UTC, such as 2026-01-01; default: all there is."
            )
            verb.add_argument("--json", action="store_true", help="Print one JSON document and nothing else.")

    def handle(self, *args: Any, **options: Any) -> None:
        repair = options["verb"] == "rebuild"
        differences = check(options["since"], repair=repair)
        if options["json"]:
            rows = [{**difference._asdict(), "day": difference.day.isoformat()} for difference in differences]
            self.stdout.write(json.dumps({"differences": rows, "mended": repair}, indent=2))
        else:
            days = ", ".join(str(difference.day) for difference in differences)
            statement = "were mended" if repair else "differ from the ledger"
            self.stdout.write(f"{days}: {statement}." if differences else "They are what the ledger says.")
        if differences and not repair:
            raise CommandError("The rollups differ from the ledger; `manage.py rollups rebuild` mends them.")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write a day as 2026-01-01") from None
