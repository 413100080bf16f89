"""`manage.py keys`: mint, list, show, update, revoke and rotate virtual keys."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys.management.cli import ManagementCLI
from keys.management.connections import Connection, printable

MOST_DAYS = 365 * 1000
SETTINGS = {"models": "allowed_models", "alias": "upstream_alias", "rpm": "rpm", "notes": "notes", "tags": "tags"}
"""Option → the API's field."""


class Command(BaseCommand):
    help = "Virtual keys, here or, with --api-url, on another Sluice."
    requires_system_checks = ()  # a remote one needs nothing of this installation

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
                "rotate": (self.rotate, "Give a key a new token; the old one dies at once."),
            },
        )
        verbs["mint"].add_argument("--name", required=True)
        for name in ("mint", "update"):
            verbs[name].add_argument("--alias", help="Of the upstream credential that its requests use.")
            verbs[name].add_argument("--models", type=self.cli.listed, help="Names or globs: a,b. Blank: every model.")
            verbs[name].add_argument("--expires-days", type=_days, metavar="D")
            verbs[name].add_argument("--rpm", type=int, metavar="N", help="Requests per minute.")
            verbs[name].add_argument("--notes")
            verbs[name].add_argument("--tags", type=self.cli.listed, help="a,b")
        verbs["list"].add_argument("--status", choices=["active", "inactive", "expired", "revoked"])
        for name in ("show", "update", "rotate"):
            self.cli.one_of(verbs[name])
        verbs["update"].add_argument("--rename", metavar="NAME")
        active = verbs["update"].add_mutually_exclusive_group()
        active.add_argument("--activate", dest="is_active", action="store_true", default=None)
        active.add_argument("--deactivate", dest="is_active", action="store_false", default=None)
        which = verbs["revoke"].add_mutually_exclusive_group(required=True)
        which.add_argument("--id", type=int)
        which.add_argument("--name")
        which.add_argument("--all", action="store_true", help="All keys of --project.")
        for verb in verbs.values():
            verb.add_argument("--project", metavar="P", help="Name or id.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def mint(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        body = {"name": options["name"], **_settings(options)}
        if options["project"] is not None:
            body["project"] = options["project"]
        key = api.call("POST", "keys", body)
        return key, _told(key, f"Minted key {key['name']!r} (id {key['id']}) in project {key['project_name']!r}.")

    def list(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return api.everything("keys", project=options["project"], status=options["status"]), ""

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
        key = api.call("POST", f"keys/{_find(api, options)['id']}/rotate")
        return key, _told(key, f"Key {key['name']!r} (id {key['id']}) has a new token; the old one is dead.")


def _find(api: Connection, options: dict[str, Any]) -> Any:
    return api.find("keys", "key", id=options["id"], name=options["name"], project=options["project"])


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    body = {field: options[option] for option, field in SETTINGS.items() if options[option] is not None}
    if options["expires_days"] is not None:
        body["expires_at"] = (timezone.now() + timedelta(days=options["expires_days"])).isoformat()
    return body


def _told(key: dict[str, Any], sentence: str) -> str:
    return f"{printable(sentence)}\n\n  {key['key']}\n\nKeep it now: it is not shown again."


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 0 < int(text) <= MOST_DAYS):
        raise argparse.ArgumentTypeError(f"use a number of days from 1 to {MOST_DAYS}")
    return int(text)
