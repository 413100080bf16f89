"""`manage.py cache`: what the response cache has stored, and purges."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from cache.purge import prune
from strict.ports import COMMAND_LINE, CommandLine


class Command(BaseCommand):
    help = "The response cache, here or, with --api-url, at another Sluice."
    requires_system_checks = ()  # a remote one needs nothing of this installation

    @property
    def cli(self) -> CommandLine:
        """The commands' shared part belongs to another app, which this one does not import (`config/ports.py`)."""
        columns = ("id", "created_at", "project", "endpoint", "model", "size", "hit_count", "expires_at")
        return COMMAND_LINE()(self, columns)

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = self.cli.read(
            parser,
            {
                "stats": (self.stats, "Show how much is stored, in total and by project, and the latest purges."),
                "list": (self.list, "List stored answers, newest first."),
                "show": (self.show, "Show one stored answer, with its body."),
                "frames": (self.frames, "Show the events of a stored stream."),
                "purge": (self.purge, "Purge stored answers: those to which all that is said applies."),
                "prune": (self.prune, "Delete rows of this installation that are purged, expired or beyond the bound."),
            },
        )
        for name in ("project", "endpoint", "model", "stream"):
            verbs["list"].add_argument(f"--{name}")
        verbs["list"].add_argument("--limit", type=int, default=100, metavar="N", help="Most rows (100); 0: all.")
        for name in ("show", "frames"):
            verbs[name].add_argument("key", help="Its id or cache key, or the id of its request or response.")
        verbs["frames"].add_argument("--after", type=int, default=0, metavar="N", help="After this ordinal.")
        purged = verbs["purge"]
        purged.add_argument("--key", help="A cache key, as in X-Cache-Key.")
        purged.add_argument("--project", type=int, metavar="ID")
        purged.add_argument("--path", help="The beginning of the endpoint's path, such as /v1/embeddings.")
        purged.add_argument("--model", help="The beginning of the client's name for the model.")
        purged.add_argument("--all", action="store_true", help="Everything.")

    def handle(self, *args: Any, **options: Any) -> None:
        self.cli.run(options)

    def stats(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("GET", "cache"), ""

    def list(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        query = {name: options[name] for name in ("project", "endpoint", "model", "stream") if options[name]}
        return api.everything("responses", most=max(0, options["limit"]) or None, **query), ""

    def show(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        return api.call("GET", f"responses/{options['key']}"), ""

    def frames(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        document = api.call("GET", f"responses/{options['key']}/frames", after=options["after"], page_size=500)
        lines = [
            f"{frame['ordinal']:>5}  {frame['at_s']:9.3f} s  {frame['event'] or '-'}  {frame['data']}"
            for frame in document["results"]
        ]
        return document, "\n".join(lines)

    def purge(self, api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        names = {"key": "cache_key", "project": "project", "path": "path", "model": "model"}
        body = {member: options[name] for name, member in names.items() if options[name] is not None}
        if options["all"]:
            body["all"] = True
        made = api.call("POST", "cache/purge", body)
        return made, f"Purged (number {made['id']}): {made['entries']} stored answers in the database."

    def prune(self, _api: Any, options: dict[str, Any]) -> tuple[Any, str]:
        if options["api_url"]:
            raise self.cli.refuse("The cache is pruned where it is, not from afar.")
        pruned = prune()
        text = f"Deleted {pruned.purged} purged, {pruned.expired} expired, {pruned.beyond_bound} beyond the bound."
        return pruned._asdict(), text
