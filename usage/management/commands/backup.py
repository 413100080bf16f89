"""`manage.py backup TO`: copy database, journal and secrets, even while servers run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from usage.backup import CannotBackUp, back_up


class Command(BaseCommand):
    help = "Copy the database, the journal of this host and secrets.env into a new directory, also while it serves."
    requires_system_checks = []  # noqa: RUF012

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("to", type=Path, help="A new or empty directory.")

    def handle(self, *args: Any, to: Path, **options: Any) -> None:
        try:
            manifest = back_up(to)
        except (CannotBackUp, OSError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{to} has the database ({manifest.database}) and the journal.")
        if manifest.has_secrets:
            self.stdout.write("It also has secrets.env, which opens the stored credentials: keep it as safe as those.")
        else:
            self.stdout.write("SECRET_KEY and ENCRYPTION_KEY are not in it: they come from the environment. Keep them.")
