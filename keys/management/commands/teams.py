"""`manage.py teams`: create, list, show, update and delete teams."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from keys.management.connections import Connection
from keys.management.limit_options import add_limits, limit_fields
from keys.management.noun import NounCommand, drop_none


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

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        update = self.parsers["update"]
        update.add_argument("--add", type=self.cli.listed, metavar="a,b", help="Users who become members.")
        update.add_argument("--remove", type=self.cli.listed, metavar="a,b", help="Users who are members no longer.")

    def update(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        added, removed = options["add"] or [], options["remove"] or []
        if not (added or removed):
            return super().update(api, options)
        if options["members"] is not None:
            raise CommandError("--members says who all of them are; --add and --remove go without it.", returncode=2)
        team = self.find(api, options)
        body = {**self.renaming(options), **self.settings(options), "add_members": added, "remove_members": removed}
        return api.call("PATCH", f"teams/{team['id']}", body), ""

    def settings(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**drop_none(members=options["members"], notes=options["notes"]), **limit_fields(options)}
