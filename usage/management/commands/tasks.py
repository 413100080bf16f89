"""`manage.py tasks`: list the periodic tasks with their last runs, and run one by hand."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from usage.management.tables import table
from usage.periodic.run import attempt
from usage.periodic.state import ScheduledTask, TaskOutcome
from usage.periodic.table import Periodic, periodic_of, schedule

COLUMNS = ("name", "when", "next_run_at", "started_at", "duration_s", "outcome", "told")


class Command(BaseCommand):
    help = "The tasks of this installation that run by the clock."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        listed = verbs.add_parser("list", help="List them, with their last run.")
        run = verbs.add_parser("run", help="Run one here and now, and wait for its end; exit code 1 if it fails.")
        run.add_argument("name")
        for verb in (listed, run):
            verb.add_argument("--json", action="store_true", help="Print one JSON document and nothing else.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] == "list":
            rows = ScheduledTask.objects.in_bulk()
            self._write({"results": [describe(periodic, rows.get(periodic.name)) for periodic in schedule()]}, options)
            return
        periodic = periodic_of(options["name"])
        if periodic is None:
            names = ", ".join(periodic.name for periodic in schedule())
            raise CommandError(f"There is no task {options['name']!r}; there are {names}.", returncode=2)
        task = attempt(periodic)
        if task is None:
            raise CommandError(f"{periodic.name} is running at this moment; `manage.py tasks list` says where.")
        self._write(describe(periodic, task), options)
        if task.outcome == TaskOutcome.FAILED:
            raise CommandError(f"{periodic.name} failed: {task.error}")

    def _write(self, document: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(document, indent=2, cls=DjangoJSONEncoder))
            return
        self.stdout.write(table(COLUMNS, document.get("results", [document])))


def describe(periodic: Periodic, task: ScheduledTask | None) -> dict[str, Any]:
    """Return a task for the table and for JSON. A task without a row has not been due since it was installed."""
    when = f"every {periodic.every_s} s" if periodic.at is None else f"{periodic.at:%H:%M} UTC"
    row = task or ScheduledTask()
    return {
        "name": periodic.name,
        "task": periodic.task,
        "when": when,
        "next_run_at": row.next_run_at,
        "started_at": row.started_at,
        "duration_s": row.duration_s,
        "outcome": row.outcome,
        "runner": row.runner,
        "told": row.error or row.result,
    }
