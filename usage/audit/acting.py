"""The actor of the present management request or command, and what it has done so far."""

from __future__ import annotations

import getpass
import sys
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from django.http import HttpRequest

from usage.audit.entry import ActorKind, AuditEntry

LONGEST_NAME = 200


@dataclass
class Scope:
    """One management request. Its user is known only after a view has authenticated it, so it is read late."""

    request: HttpRequest
    request_id: str = field(default_factory=lambda: f"mgt_{uuid4().hex}")
    done: list[AuditEntry] = field(default_factory=list)
    """Entries for what it changed. They are written in the transaction of the change."""
    attempted: list[AuditEntry] = field(default_factory=list)
    """Entries for what it attempted. They are written even if the transaction is rolled back."""

    def actor(self) -> tuple[str, str]:
        if getattr(self.request, "is_local_command", False):
            return ActorKind.CLI, operating_user()
        user = getattr(self.request, "user", None)
        if user is None or not user.is_authenticated:
            return ActorKind.ANONYMOUS, ""
        return (ActorKind.TOKEN if user.pk is None else ActorKind.USER), user.get_username()[:LONGEST_NAME]

    def ip(self) -> str | None:
        if getattr(self.request, "is_local_command", False):
            return None
        return self.request.META.get("REMOTE_ADDR") or None


scope: ContextVar[Scope | None] = ContextVar("audit_scope", default=None)


def signed(entry: AuditEntry) -> AuditEntry:
    """Fill in an entry's actor, address and request, and return it. Without a request the actor is this program."""
    current = scope.get()
    if current is None:
        entry.actor_kind, entry.actor = ActorKind.SYSTEM, program()
        return entry
    entry.actor_kind, entry.actor = current.actor()
    entry.ip, entry.request_id = current.ip(), current.request_id
    return entry


def operating_user() -> str:
    """Return the operating system's name of the user who runs the command; empty if it has none."""
    try:
        return getpass.getuser()[:LONGEST_NAME]
    except (KeyError, OSError):  # a container's user without a name
        return ""


def program() -> str:
    """Return the program's name, such as `manage.py migrate`, without options, which may be secrets."""
    name = Path(sys.argv[0]).name if sys.argv else ""
    return f"{name} {sys.argv[1]}"[:LONGEST_NAME] if name == "manage.py" and len(sys.argv) > 1 else name[:LONGEST_NAME]
