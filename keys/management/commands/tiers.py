"""`manage.py tiers`: create, list, show, update and delete tiers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from keys.management.noun import NounCommand, drop_none


class Command(NounCommand):
    help = "Tiers of accounts, here or, with --api-url, on another Sluice."
    noun, plural = "tier", "tiers"
    columns = ("id", "name", "daily_embeddings", "compute")

    def add_settings(self, parser: CommandParser) -> None:
        parser.add_argument("--daily-embeddings", type=int, metavar="N")
        parser.add_argument(
            "--compute", choices=["byok", "local"], help="What computes embeddings that are not cached."
        )

    def settings(self, options: dict[str, Any]) -> dict[str, Any]:
        return drop_none(daily_embeddings=options["daily_embeddings"], compute=options["compute"])
