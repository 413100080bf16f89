"""A command that creates, lists, shows, updates and deletes the rows of one resource of the management API."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.cli import ManagementCLI, Verb
from keys.management.connections import Connection, printable


class NounCommand(BaseCommand):
    """A subclass names the resource and reads its settings."""

    requires_system_checks = ()  # a remote Sluice needs nothing of this installation
    noun: ClassVar[str]
    plural: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    deletable: ClassVar[bool] = True
    named: ClassVar[str] = "name"
    """The field with a row's name."""

    def add_settings(self, parser: CommandParser) -> None:
        """Options of both `create` and `update`."""

    def settings(self, options: dict[str, Any]) -> dict[str, Any]:
        """The API's fields for the given options. None: not given; NONE: null."""
        raise NotImplementedError

    def add_creation(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True)

    def add_renaming(self, parser: CommandParser) -> None:
        parser.add_argument("--rename", metavar="NAME")

    def creation(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"name": options["name"]}

    def renaming(self, options: dict[str, Any]) -> dict[str, Any]:
        return {} if options["rename"] is None else {"name": options["rename"]}

    @property
    def cli(self) -> ManagementCLI:
        return ManagementCLI(self, self.columns)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs: dict[str, tuple[Verb, str]] = {
            "create": (self.create, f"Create a {self.noun}."),
            "list": (self.list, f"List {self.plural}, newest first."),
            "show": (self.show, f"Show one {self.noun}."),
            "update": (self.update, f"Change a {self.noun}."),
        }
        if self.deletable:
            verbs["delete"] = (self.delete, f"Delete a {self.noun} that nothing belongs to.")
        self.parsers = parsers = self.cli.read(parser, verbs)
        self.add_creation(parsers["create"])
        self.add_renaming(parsers["update"])
        for name in verbs.keys() - {"create", "list"}:
            self.add_choice(parsers[name])
        for name in ("create", "update"):
            self.add_settings(parsers[name])

    def add_choice(self, parser: CommandParser) -> None:
        self.cli.one_of(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def create(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        row = api.call("POST", self.plural, {**self.creation(options), **self.settings(options)})
        return row, printable(f"Created {self.noun} {row[self.named]!r} (id {row['id']}).")

    def list(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return api.everything(self.plural), ""

    def show(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return self.find(api, options), ""

    def update(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        body = {**self.renaming(options), **self.settings(options)}
        if not body:
            raise CommandError("Say what to change.", returncode=2)
        return api.call("PATCH", f"{self.plural}/{self.find(api, options)['id']}", body), ""

    def delete(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        row = self.find(api, options)
        api.call("DELETE", f"{self.plural}/{row['id']}")
        return row, printable(f"Deleted {self.noun} {row[self.named]!r}.")

    def find(self, api: Connection, options: dict[str, Any]) -> Any:
        return api.find(self.plural, self.noun, id=options["id"], name=options["name"])


def activity(parser: CommandParser) -> None:
    active = parser.add_mutually_exclusive_group()
    active.add_argument("--activate", dest="is_active", action="store_true", default=None)
    active.add_argument("--deactivate", dest="is_active", action="store_false", default=None)


def drop_none(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
