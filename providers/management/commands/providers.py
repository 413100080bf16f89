"""`manage.py providers`: create, list, show, update, check and delete providers."""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.kinds import KINDS
from providers.management.secret_options import add_secret, read_secret
from strict.ports import COMMAND_LINE, CommandLine


class Command(BaseCommand):
    help = "Providers, here or, with --api-url, on another Sluice."
    requires_system_checks = ()  # with --api-url the command needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """What all commands share. It belongs to another app, which this app does not import (`config/ports.py`)."""
        columns = ("id", "name", "kind", "base_url", "credential", "priority", "weight", "is_enabled")
        return COMMAND_LINE()(self, columns)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "create": (self.create, "Create a provider."),
                "list": (self.list, "List providers, newest first."),
                "show": (self.show, "Show one provider."),
                "update": (self.update, "Change a provider."),
                "check": (self.check_health, "Ask each enabled provider whether it is there, from this machine."),
                "delete": (self.delete, "Delete a provider and the credentials that are bound to it."),
            },
        )
        verbs["create"].add_argument("--name", required=True)
        verbs["list"].add_argument("--kind", choices=sorted(KINDS))
        for name in ("show", "update", "delete"):
            self.cli.one_of(verbs[name])
        verbs["update"].add_argument("--rename", metavar="NAME")
        for name in ("create", "update"):
            self._add_settings(verbs[name])

    def _add_settings(self, verb: CommandParser) -> None:
        verb.add_argument("--kind", choices=sorted(KINDS))
        verb.add_argument("--base-url", metavar="URL", help="With its version prefix: https://api.openai.com/v1.")
        add_secret(verb, "api-key")
        verb.add_argument("--credential", metavar="ALIAS", help="Alias of the credential it is called with.")
        verb.add_argument("--models", type=_models, metavar="a,b | client=upstream,…", help="Blank: every model.")
        verb.add_argument("--priority", type=int, help="Lower goes first.")
        verb.add_argument("--weight", type=int, help="Share among equal priorities; 0 drains it.")
        verb.add_argument("--options", type=_object, metavar="JSON", help="What its kind takes besides.")
        enabled = verb.add_mutually_exclusive_group()
        enabled.add_argument("--enable", dest="is_enabled", action="store_true", default=None)
        enabled.add_argument("--disable", dest="is_enabled", action="store_false", default=None)

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def create(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        provider = api.call("POST", "providers", self._body(options, options["name"]))
        return provider, f"Created provider {provider['name']!r} (id {provider['id']})."

    def list(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return api.everything("providers", kind=options["kind"]), ""

    def show(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return _find(api, options), ""

    def update(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        body = self._body(options, options["rename"])
        if not body:
            raise CommandError("Say what to change.", returncode=2)
        return api.call("PATCH", f"providers/{_find(api, options)['id']}", body), ""

    def delete(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        provider = _find(api, options)
        api.call("DELETE", f"providers/{provider['id']}")
        return provider, f"Deleted provider {provider['name']!r}."

    def check_health(self, _api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        from providers.checks import check_providers

        if options["api_url"]:
            raise self.cli.refuse("Another Sluice checks its own providers; `list --json` shows what it found.")
        findings = [
            {
                "name": finding.provider.name,
                "status": finding.status,
                "latency_ms": finding.latency_ms,
                "error": finding.error,
            }
            for finding in check_providers()
        ]
        lines = [f"{row['name']}: {row['status']}. {row['error']}".strip() for row in findings]
        return {"results": findings}, "\n".join(lines) or "There is no provider to ask."

    def _body(self, options: dict[str, Any], name: str | None) -> dict[str, Any]:
        fields = ("kind", "base_url", "credential", "models", "priority", "weight", "options", "is_enabled")
        values = {
            "name": name,
            "api_key": read_secret(options, "api-key"),
            **{field: options[field] for field in fields},
        }
        return {field: value for field, value in values.items() if value is not None}


def _find(api: Any, options: dict[str, Any]) -> Any:
    return api.find("providers", "provider", id=options["id"], name=options["name"])


def _models(text: str) -> dict[str, str]:
    """Parse `a,b` or `client=upstream,…`. A name alone gets a blank value, which means the same name."""
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    return {client.strip(): upstream.strip() for client, _, upstream in pairs}


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this is not JSON: {error}") from None
