"""`manage.py dispatch`: deliver the events of the journal to the targets of dispatchers."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from usage.dispatch import DISPATCHERS
from usage.dispatch.delivery import AWAY
from usage.dispatch.shape import document_of
from usage.dispatch.target import BadTarget, Target, named, target_from
from usage.dispatch.tasks import AlreadyAtWork, Outcome, dead_letters_of, dispatch, dispatch_once, resend

T = TypeVar("T")


class Command(BaseCommand):
    help = "Deliver finished requests until SIGTERM: to the dispatchers of DISPATCH_TO, or to one that is named here."
    requires_system_checks = []  # noqa: RUF012

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", choices=list(DISPATCHERS), help="The kind. Left out: those of DISPATCH_TO.")
        parser.add_argument("--name", help="Its name: what it has read goes by it, and DISPATCH_NAME_… its settings.")
        parser.add_argument("--url", help="Where to; secrets and keys come from the environment.")
        parser.add_argument("--path", help="Of the file, for `--to file`; else NAME.jsonl in DISPATCH_DIR.")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--once", action="store_true", help="Deliver what waits, and end: 0 when all of it is there.")
        what.add_argument("--dead-letters", action="store_true", help="Print what was refused for good, one a line.")
        what.add_argument("--resend", action="store_true", help="Send what was refused for good again, and end.")

    def handle(self, *args: Any, **options: Any) -> None:
        targets = self._targets(options)
        if options["dead_letters"]:
            for target in targets:
                self._run(self._show_dead_letters, target)
        elif options["once"] or options["resend"]:
            deliver = dispatch_once if options["once"] else resend
            went_well = [self._report(target, self._run(deliver, target)) for target in targets]
            if not all(went_well):
                sys.exit(1)
        else:
            self._serve(targets)

    def _targets(self, options: dict[str, Any]) -> Sequence[Target]:
        """Return the targets that the options name. Raises `CommandError`."""
        kind, name = options["to"], options["name"]
        if kind:
            try:
                name, kind = named(f"{name}={kind}" if name else kind, "--name")
                return [target_from(os.environ, name, kind, url=options["url"], path=options["path"])]
            except BadTarget as error:
                raise CommandError(str(error), returncode=2) from None
        if options["url"] or options["path"]:
            raise CommandError("--url and --path go with --to.", returncode=2)
        configured: Sequence[Target] = settings.DISPATCHERS
        targets = [target for target in configured if name in (None, target.name)]
        if not targets:
            wanted = "no dispatcher in it" if name is None else f"no {name!r} in it"
            raise CommandError(f"DISPATCH_TO has {wanted}; name one there, or use --to.", returncode=2)
        return targets

    def _report(self, target: Target, outcome: Outcome) -> bool:
        """Print the outcome. Return whether all events were delivered or refused."""
        self.stdout.write(
            f"dispatcher {target.name}: {outcome.delivered} delivered, {outcome.refused} refused for good"
        )
        if not outcome.is_all:
            why = outcome.error or "its time was up"
            self.stderr.write(f"dispatcher {target.name}: not all of it was delivered: {why}")
        return outcome.is_all

    def _run(self, deliver: Callable[[Target], T], target: Target) -> T:
        """Call a function for a target. Raises `CommandError` instead of the function's errors."""
        try:
            return deliver(target)
        except AlreadyAtWork as error:
            raise CommandError(str(error)) from None
        except AWAY as error:
            raise CommandError(f"dispatcher {target.name}: {error}") from None

    def _serve(self, targets: Sequence[Target]) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        errors: list[CommandError] = []

        def work(target: Target) -> None:
            try:
                self._run(lambda one: dispatch(one, stopping), target)
            except CommandError as error:
                errors.append(error)
                stopping.set()

        threads = [threading.Thread(target=work, args=(target,), name=target.name) for target in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _show_dead_letters(self, target: Target) -> None:
        for letter in dead_letters_of(target.name).read():
            shown = {"dispatcher": target.name, "at": letter.at, "reason": letter.reason}
            self.stdout.write(json.dumps({**shown, "event": document_of(letter.event)}))
