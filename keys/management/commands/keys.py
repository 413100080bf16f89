"""`manage.py keys`: mint, list, show, update, revoke, rotate and validate virtual keys, and see their use."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.management.cli import ManagementCLI
from keys.management.connections import Connection, printable
from keys.management.limit_options import NONE, add_limits, limit_fields, unwritten
from keys.management.noun import activity
from keys.models.virtual_key import STATUSES

MOST_DAYS = 365 * 1000
SETTINGS = {
    "models": "allowed_models",
    "alias": "upstream_alias",
    "notes": "notes",
    "tags": "tags",
    "metadata": "metadata",
}
"""The API's field for each option."""


class Command(BaseCommand):
    help = "Virtual keys, here or, with --api-url, on another Sluice."
    requires_system_checks = ()  # a remote Sluice needs nothing of this installation

    @property
    def cli(self) -> ManagementCLI:
        return ManagementCLI(self, ("id", "name", "project_name", "status", "mask", "expires_at", "last_used_at"))

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "mint": (self.mint, "Mint a key and print its token, once."),
                "list": (self.list, "List keys, newest first."),
                "show": (self.show, "Show one key."),
                "update": (self.update, "Change a key's settings."),
                "revoke": (self.revoke, "Revoke a key for good, or all keys of a project."),
                "rotate": (self.rotate, "Give a key a new token; the old one dies at once, or after a grace."),
                "validate": (self.validate, "Tell whether a token would be taken; exit code 1 if not."),
                "usage": (self.usage, "Show what a key was used for, and where its budget stands."),
            },
        )
        verbs["mint"].add_argument("--name", required=True)
        for name in ("mint", "update"):
            verbs[name].add_argument("--alias", help="Of the upstream credential that its requests use.")
            verbs[name].add_argument("--models", type=self.cli.listed, help="Names or globs: a,b. Blank: every model.")
            verbs[name].add_argument("--expires-days", type=_days, metavar="D", help="From now; `none`: never.")
            verbs[name].add_argument("--notes")
            verbs[name].add_argument("--tags", type=self.cli.listed, help="a,b")
            verbs[name].add_argument("--metadata", type=_object, metavar="JSON")
            verbs[name].add_argument("--owner", help="A user's name or id; `none` for nobody.")
            verbs[name].add_argument("--team", help="Its name or id; `none` for none.")
            add_limits(verbs[name])
        verbs["list"].add_argument("--status", choices=STATUSES)
        verbs["list"].add_argument("--owner")
        verbs["list"].add_argument("--team")
        verbs["list"].add_argument("--tag")
        for name in ("show", "update", "rotate", "usage"):
            self.cli.one_of(verbs[name])
        verbs["rotate"].add_argument(
            "--grace", type=int, default=0, metavar="SECONDS", help="How long the old one lives."
        )
        verbs["usage"].add_argument("--days", type=int, default=30, metavar="D")
        verbs["validate"].add_argument("--key", required=True, help="The token; `-` reads it from standard input.")
        verbs["update"].add_argument("--rename", metavar="NAME")
        activity(verbs["update"])
        which = verbs["revoke"].add_mutually_exclusive_group(required=True)
        which.add_argument("--id", type=int)
        which.add_argument("--name")
        which.add_argument("--all", action="store_true", help="All keys of --project.")
        for name in verbs.keys() - {"validate"}:
            verbs[name].add_argument("--project", metavar="P", help="Name or id.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def mint(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        body = {"name": options["name"], **_settings(options)}
        if options["project"] is not None:
            body["project"] = options["project"]
        key = api.call("POST", "keys", body)
        return key, _text_with_token(
            key, f"Minted key {key['name']!r} (id {key['id']}) in project {key['project_name']!r}."
        )

    def list(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        filters = {name: options[name] for name in ("project", "status", "owner", "team", "tag")}
        return api.everything("keys", **filters), ""

    def show(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return _find(api, options), ""

    def update(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        body = _settings(options)
        if options["rename"] is not None:
            body["name"] = options["rename"]
        if options["is_active"] is not None:
            body["is_active"] = options["is_active"]
        if not body:
            raise CommandError("Say what to change.", returncode=2)
        return api.call("PATCH", f"keys/{_find(api, options)['id']}", body), ""

    def revoke(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        if options["all"]:
            if options["project"] is None:
                raise CommandError("--all needs --project.", returncode=2)
            done = api.call("POST", "keys/revoke", {"project": options["project"]})
            return done, f"Revoked {done['revoked']} keys."
        key = api.call("POST", f"keys/{_find(api, options)['id']}/revoke")
        return key, printable(f"Revoked key {key['name']!r} (id {key['id']}).")

    def rotate(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        grace = options["grace"]
        key = api.call("POST", f"keys/{_find(api, options)['id']}/rotate", {"grace_seconds": grace})
        old = f"is taken for {grace} seconds more" if grace else "is dead"
        return key, _text_with_token(key, f"Key {key['name']!r} (id {key['id']}) has a new token; the old one {old}.")

    def validate(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        token = sys.stdin.readline().strip() if options["key"] == "-" else options["key"]
        verdict = api.call("POST", "keys/validate", {"key": token})
        if not verdict["valid"]:
            if options["json"]:
                self.stdout.write(json.dumps(verdict, indent=2))
            raise CommandError(printable(f"This key is refused: {verdict['error']}."))
        return verdict, printable(f"Key {verdict['key']['name']!r} (id {verdict['key_id']}) is taken.")

    def usage(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("GET", f"keys/{_find(api, options)['id']}/usage", days=options["days"]), ""


def _find(api: Connection, options: dict[str, Any]) -> Any:
    """Find a key. If several keys have had the name, take the one that is not revoked."""
    where = {"name": options["name"], "project": options["project"]}
    if options["id"] is None:
        kept = [row for row in api.everything("keys", **where)["results"] if row["status"] != "revoked"]
        if len(kept) == 1:
            return kept[0]
    return api.find("keys", "key", id=options["id"], **where)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    body = {field: options[option] for option, field in SETTINGS.items() if options[option] is not None}
    body |= {name: unwritten(options[name]) for name in ("owner", "team") if options[name] is not None}
    days = options["expires_days"]
    if days is not None:
        body["expires_at"] = None if days == NONE else (timezone.now() + timedelta(days=days)).isoformat()
    return {**body, **limit_fields(options)}


def _text_with_token(key: dict[str, Any], sentence: str) -> str:
    return f"{printable(sentence)}\n\n  {key['key']}\n\nKeep it now: it is not shown again."


def _days(text: str) -> int | str:
    if text == NONE:
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 0 < int(text) <= MOST_DAYS):
        raise argparse.ArgumentTypeError(f"use a number of days from 1 to {MOST_DAYS}")
    return int(text)


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this is not JSON: {error}") from None
