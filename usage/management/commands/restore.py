"""`manage.py restore FROM`: restore what `manage.py backup` copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from usage.backup import CannotBackUp
from usage.restore import CannotRestore, restore


class Command(BaseCommand):
    help = "Put a backup's database, journal and secrets.env in place. No server may serve from DATA_DIR meanwhile."
    requires_system_checks = []  # noqa: RUF012

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", metavar="from", type=Path, help="What `manage.py backup` made.")
        parser.add_argument("--replace", action="store_true", help="Also where there is an installation already.")

    def handle(self, *args: Any, backup: Path, replace: bool, **options: Any) -> None:
        try:
            restored = restore(backup, replace=replace)
        except (CannotRestore, CannotBackUp, DatabaseError, OSError) as error:
            raise CommandError(str(error)) from None
        what = "database, journal and secrets.env" if restored.has_secrets else "database and journal"
        self.stdout.write(f"Restored {what} from {backup}. Run `manage.py migrate` if this version is newer.")
