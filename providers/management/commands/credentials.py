"""`manage.py credentials`: create, list, show, update, delete and re-encrypt upstream credentials."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from providers.management.secret_options import add_secret, read_secret
from strict.ports import COMMAND_LINE, CommandLine


class Command(BaseCommand):
    help = "Stored credentials of providers, here or, with --api-url, on another Sluice. Only their masks are shown."
    requires_system_checks = ()  # with --api-url the command needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """What all commands share. It belongs to another app, which this app does not import (`config/ports.py`)."""
        columns = ("id", "alias", "provider_name", "mask", "usable", "updated_at")
        return COMMAND_LINE()(self, columns)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "create": (self.create, "Store a credential under an alias."),
                "list": (self.list, "List credentials, newest first."),
                "show": (self.show, "Show one credential, without its secret."),
                "update": (self.update, "Change a credential."),
                "delete": (self.delete, "Delete a credential."),
                "reencrypt": (self.reencrypt, "Write all of this installation under the first key of ENCRYPTION_KEY."),
            },
        )
        verbs["create"].add_argument("--alias", required=True)
        verbs["create"].add_argument("--provider", metavar="NAME", help="It goes to this one alone; left out: to any.")
        verbs["list"].add_argument("--alias")
        verbs["list"].add_argument("--provider", metavar="NAME", help="Those that are bound to it.")
        for name in ("show", "update", "delete"):
            self.cli.one_of(verbs[name], called="alias")
            verbs[name].add_argument("--provider", metavar="NAME", help="Beside --alias: the one that is bound to it.")
        verbs["update"].add_argument("--rename", metavar="ALIAS")
        bound = verbs["update"].add_mutually_exclusive_group()
        bound.add_argument("--bind", metavar="NAME", help="From now on it goes to this provider alone.")
        bound.add_argument("--unbind", action="store_true", help="It goes to any provider that asks for its alias.")
        add_secret(verbs["create"], "secret", required=True)
        add_secret(verbs["update"], "secret")

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def create(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        body = {"alias": options["alias"], "secret": read_secret(options, "secret")}
        row = api.call("POST", "credentials", {**body, "provider": _number(api, options["provider"])})
        return row, f"Created credential {row['alias']!r} (id {row['id']})."

    def list(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        provider = _number(api, options["provider"])
        return api.everything("credentials", alias=options["alias"], provider=provider), ""

    def show(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return self._find(api, options), ""

    def update(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        fields = {"alias": options["rename"], "secret": read_secret(options, "secret")}
        body = {field: value for field, value in fields.items() if value is not None}
        if options["unbind"] or options["bind"] is not None:
            body["provider"] = _number(api, options["bind"])
        if not body:
            raise CommandError("Say what to change.", returncode=2)
        return api.call("PATCH", f"credentials/{self._find(api, options)['id']}", body), ""

    def delete(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        row = self._find(api, options)
        api.call("DELETE", f"credentials/{row['id']}")
        return row, f"Deleted credential {row['alias']!r} (id {row['id']})."

    def reencrypt(self, _api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        from providers.reencrypt import reencrypt

        if options["api_url"]:
            raise self.cli.refuse("Credentials are re-encrypted where their database is, not from afar.")
        try:
            done = reencrypt()
        except DatabaseError as error:
            raise self.cli.refuse(f"The database refused it ({error}); run it again for what is left.") from None
        lost = [{"id": each.pk, "alias": each.alias, "provider": each.provider_id} for each in done.undecryptable]
        document = {"rewritten": done.rewritten, "undecryptable": lost}
        text = f"Rewrote {done.rewritten} credentials."
        if lost:
            if options["json"]:
                self.stdout.write(json.dumps(document, indent=2))
            names = ", ".join(f"{row['alias']!r} (id {row['id']})" for row in lost)
            raise self.cli.refuse(f"{text} No key of ENCRYPTION_KEY decrypts {names}.")
        return document, f"{text} All are under the first key of ENCRYPTION_KEY."

    def _find(self, api: Any, options: dict[str, Any]) -> Any:
        if options["id"] is not None:
            return api.call("GET", f"credentials/{options['id']}")
        rows = self.list(api, options)[0]["results"]
        if not rows:
            raise self.cli.refuse(f"There is no such credential of alias {options['alias']!r}.")
        if len(rows) > 1:
            raise self.cli.refuse(
                f"There are {len(rows)} of alias {options['alias']!r}; say which one with --id or --provider."
            )
        return rows[0]


def _number(api: Any, provider: str | None) -> int | None:
    """The id of the provider with this name; None for None."""
    return None if provider is None else int(api.find("providers", "provider", id=None, name=provider)["id"])
