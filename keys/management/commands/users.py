"""`manage.py users`: create, list, show and update users with their tiers and limits."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

from django.core.management.base import CommandParser

from keys.management.connections import Connection, Refused
from keys.management.limit_options import add_limits, limit_fields
from keys.management.noun import NounCommand, activity, drop_none


class Command(NounCommand):
    help = "Users, here or, with --api-url, on another Sluice. They are deactivated, not deleted."
    noun, plural = "user", "users"
    columns = ("id", "username", "tier", "is_active", "budget", "spent")
    deletable = False
    named = "username"

    def add_creation(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="It is the user's name too.")
        parser.add_argument("--password-env", metavar="VAR", help="The environment variable that holds the password.")

    def creation(self, options: dict[str, Any]) -> dict[str, Any]:
        variable = options["password_env"]
        password = os.environ.get(variable, "") if variable else None
        if password == "":
            raise Refused(f"The environment variable {variable} is not set.")
        return {"email": options["email"], **drop_none(password=password)}

    def add_renaming(self, parser: CommandParser) -> None:
        """Users cannot be renamed here."""

    def renaming(self, options: dict[str, Any]) -> dict[str, Any]:
        return {}

    def add_choice(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--id", type=public_id, metavar="usr_…")
        which.add_argument("--name")

    def find(self, api: Connection, options: dict[str, Any]) -> Any:
        return api.find(self.plural, self.noun, id=options["id"], name=options["name"])

    def add_settings(self, parser: CommandParser) -> None:
        parser.add_argument("--tier")
        activity(parser)
        add_limits(parser)

    def settings(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**drop_none(tier=options["tier"], is_active=options["is_active"]), **limit_fields(options)}


def public_id(text: str) -> str:
    if not re.fullmatch("usr_[a-z0-9]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an id; it begins with usr_")
    return text
