"""`manage.py projects`: create, list, show, update and delete projects."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.cli import ManagementCLI
from keys.management.connections import Connection, printable


class Command(BaseCommand):
    help = "Projects, here or, with --api-url, on another Sluice."
    requires_system_checks = ()  # a remote one needs nothing of this installation

    @property
    def cli(self) -> ManagementCLI:
        return ManagementCLI(self, ("id", "name", "is_active", "upstream_alias", "created_at"))

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "create": (self.create, "Create a project."),
                "list": (self.list, "List projects, newest first."),
                "show": (self.show, "Show one project."),
                "update": (self.update, "Change a project."),
                "delete": (self.delete, "Delete a project that has no keys."),
            },
        )
        verbs["create"].add_argument("--name", required=True)
        for name in ("show", "update", "delete"):
            self.cli.one_of(verbs[name])
        verbs["update"].add_argument("--rename", metavar="NAME")
        for name in ("create", "update"):
            verbs[name].add_argument("--alias", help="Of the upstream credential that its requests use.")
            verbs[name].add_argument("--notes")
            active = verbs[name].add_mutually_exclusive_group()
            active.add_argument("--activate", dest="is_active", action="store_true", default=None)
            active.add_argument("--deactivate", dest="is_active", action="store_false", default=None)

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def create(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        project = api.call("POST", "projects", _body(options, options["name"]))
        return project, printable(f"Created project {project['name']!r} (id {project['id']}).")

    def list(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return api.everything("projects"), ""

    def show(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        return _find(api, options), ""

    def update(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        body = _body(options, options["rename"])
        if not body:
            raise CommandError("Say what to change.", returncode=2)
        return api.call("PATCH", f"projects/{_find(api, options)['id']}", body), ""

    def delete(self, api: Connection, options: dict[str, Any]) -> tuple[Any, str]:
        project = _find(api, options)
        api.call("DELETE", f"projects/{project['id']}")
        return project, printable(f"Deleted project {project['name']!r}.")


def _find(api: Connection, options: dict[str, Any]) -> Any:
    return api.find("projects", "project", id=options["id"], name=options["name"])


def _body(options: dict[str, Any], name: str | None) -> dict[str, Any]:
    said = {
        "name": name,
        "upstream_alias": options["alias"],
        "notes": options["notes"],
        "is_active": options["is_active"],
    }
    return {field: value for field, value in said.items() if value is not None}
