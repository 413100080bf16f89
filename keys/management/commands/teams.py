"""`manage.py teams`: create, list, show, update and delete teams."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from keys.management.limit_options import add_limits, said_limits
from keys.management.noun import NounCommand, given


class Command(NounCommand):
    help = "Teams, here or, with --api-url, on another Sluice."
    noun, plural = "team", "teams"
    columns = ("id", "name", "members", "budget", "spent", "created_at")

    def add_settings(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--members", type=self.cli.listed, metavar="a,b", help="Names or ids of users; all of them."
        )
        parser.add_argument("--notes")
        add_limits(parser)

    def settings(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**given(members=options["members"], notes=options["notes"]), **said_limits(options)}
