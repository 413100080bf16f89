"""`manage.py projects`: create, list, show, update and delete projects."""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import CommandParser

from keys.management.limit_options import NONE, add_limits, count_or_none, limit_fields, unwritten
from keys.management.noun import NounCommand, activity, drop_none
from keys.models.project import CACHE_POLICIES, CACHE_SCOPES, CAPTURES, FOREIGN_IDS, UNMETERED
from keys.ruled import RULES


class Command(NounCommand):
    help = "Projects, here or, with --api-url, on another Sluice."
    noun, plural = "project", "projects"
    columns = ("id", "name", "is_active", "upstream_alias", "budget", "spent", "created_at")

    def add_settings(self, parser: CommandParser) -> None:
        parser.add_argument("--alias", help="Of the upstream credential that its requests use.")
        parser.add_argument("--notes")
        parser.add_argument("--rules", type=_rules, metavar="JSON", help=f"An object of {', '.join(RULES)}.")
        parser.add_argument(
            "--capture-bodies",
            choices=[name for name, _ in CAPTURES],
            help="Which requests and answers are kept, redacted; `errors`: those that do not end complete.",
        )
        parser.add_argument(
            "--unmetered",
            choices=[*(name for name, _ in UNMETERED), NONE],
            help="Requests whose model or cost nobody knows; `none`: only from keys without budget and list of models.",
        )
        parser.add_argument(
            "--foreign-ids",
            choices=[name for name, _ in FOREIGN_IDS],
            help="Files, batches and so on that no project made through Sluice.",
        )
        parser.add_argument(
            "--cache-policy",
            choices=[*(name for name, _ in CACHE_POLICIES), NONE],
            help="Whether stored answers answer the same request again; `none`: as the gateway's default says.",
        )
        parser.add_argument(
            "--cache-ttl-s",
            type=count_or_none,
            help="Seconds for which an answer is stored; `none`: as the gateway's default says.",
        )
        parser.add_argument(
            "--cache-scope",
            choices=[name for name, _ in CACHE_SCOPES],
            help="Whose requests a stored answer may answer.",
        )
        activity(parser)
        add_limits(parser)

    def settings(self, options: dict[str, Any]) -> dict[str, Any]:
        return {
            **drop_none(upstream_alias=options["alias"], notes=options["notes"], is_active=options["is_active"]),
            **drop_none(capture_bodies=options["capture_bodies"], foreign_ids=options["foreign_ids"]),
            **{name: unwritten(word) for name, word in drop_none(unmetered=options["unmetered"]).items()},
            **{name: unwritten(options[name]) for name in ("cache_policy", "cache_ttl_s") if options[name] is not None},
            **drop_none(cache_scope=options["cache_scope"]),
            **limit_fields(options),
            **(options["rules"] or {}),
        }


def _rules(text: str) -> dict[str, Any]:
    try:
        rules = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this is not JSON: {error}") from None
    if not isinstance(rules, dict) or not rules.keys() <= set(RULES):
        raise argparse.ArgumentTypeError(f"write an object of {', '.join(RULES)}")
    return rules
