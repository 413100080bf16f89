"""`manage.py prices`: list, set, show and delete prices."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from strict.ports import COMMAND_LINE, CommandLine

PRICES = (
    ("input", "Of the prompt."),
    ("output", "Of the answer."),
    ("cached_input", "Of what the provider had in its cache; default: as input."),
    ("cache_write", "Of what the provider put into its cache; default: as input."),
    ("reasoning", "Default: as output."),
    ("audio_input", "Default: as input."),
    ("audio_output", "Default: as output."),
)


class Command(BaseCommand):
    help = "Prices, here or, with --api-url, on another Sluice."
    requires_system_checks = ()  # a remote one needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """The commands' shared part belongs to another app, which this one does not import (`config/ports.py`)."""
        columns = (
            "id",
            "provider",
            "model",
            "input",
            "cached_input",
            "output",
            "per_request",
            "per_image",
            "valid_from",
        )
        return COMMAND_LINE()(self, columns)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "list": (self.list, "List the prices that operators set, newest first."),
                "set": (self.set, "Set the price of a model: make it, or change what is there."),
                "show": (self.show, "Show the price in force for a provider's model, and where it comes from."),
                "delete": (self.delete, "Delete a price that was set; the list price counts again."),
            },
        )
        verbs["set"].add_argument("--provider", default="", help="Its name. Left out: any provider.")
        verbs["set"].add_argument("--model", required=True, help="The provider's own name for it, or a glob.")
        for name, summary in PRICES:
            option = f"--{name.replace('_', '-')}"
            verbs["set"].add_argument(option, metavar="USD", help=f"USD for a million tokens. {summary}")
        verbs["set"].add_argument("--per-request", metavar="USD", help="For each request, beside its tokens.")
        verbs["set"].add_argument("--per-image", metavar="USD", help="For each picture, instead of its tokens.")
        verbs["set"].add_argument("--valid-from", metavar="TIME", help="ISO 8601, such as 2027-01-01T00:00:00Z.")
        verbs["list"].add_argument("--provider")
        verbs["list"].add_argument("--model")
        verbs["show"].add_argument("--provider", required=True)
        verbs["show"].add_argument("--model", required=True)
        which = verbs["delete"].add_mutually_exclusive_group(required=True)
        which.add_argument("--id", type=int)
        which.add_argument("--model")
        verbs["delete"].add_argument("--provider", default="", help="Beside --model. Left out: any provider.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def list(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return api.everything("prices", provider=options["provider"], model=options["model"]), ""

    def set(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        names = [*(name for name, _ in PRICES), "per_request", "per_image", "valid_from"]
        body = {name: options[name] for name in names if options[name] is not None}
        there = [row for row in _named(api, options) if _starts_alike(row["valid_from"], options["valid_from"])]
        if not body:
            raise CommandError("Say what it costs.", returncode=2)
        if there:
            body.pop("valid_from", None)
            price = api.call("PATCH", f"prices/{there[0]['id']}", body)
        else:
            price = api.call("POST", "prices", {"provider": options["provider"], "model": options["model"], **body})
        return price, f"Set the price of {price['model']!r} at {price['provider'] or 'any provider'}."

    def show(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("GET", "prices/effective", provider=options["provider"], model=options["model"]), ""

    def delete(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        if options["id"] is not None:
            price = api.call("GET", f"prices/{options['id']}")
        else:
            rows = _named(api, options)
            if len(rows) != 1:
                raise self.cli.refuse(f"There are {len(rows)} such prices; say which one with --id.")
            price = rows[0]
        api.call("DELETE", f"prices/{price['id']}")
        return price, f"Deleted the price of {price['model']!r} at {price['provider'] or 'any provider'}."


def _named(api: Any, options: dict[str, Any]) -> Any:
    rows = api.everything("prices", model=options["model"])["results"]
    return [row for row in rows if row["provider"] == options["provider"]]


def _starts_alike(stored: str | None, wanted: str | None) -> bool:
    """Whether both name the same moment; the API answers in UTC."""
    from django.utils.dateparse import parse_datetime

    if stored is None or wanted is None:
        return stored == wanted
    try:
        return parse_datetime(stored) == parse_datetime(wanted)
    except (ValueError, TypeError):
        return False  # the API will answer with the error
