"""`manage.py run`: prepare the database, set up a new installation, and serve. `make run` calls it."""

from __future__ import annotations

import secrets
import sys
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from keys.models import VirtualKey
from providers.environment import sync_provider_from_environment
from providers.models import Provider
from proxy.management.commands.serve import listen, serve

FIRST_KEY = "first-key"
SIMULATED_MODEL = "simulator"

WELCOME = """
This is shown once:

  admin        {url}/admin/      user: admin      password: {password}
  client key   {token}

Try it:

  curl {url}/v1/chat/completions \\
    -H "Authorization: Bearer {token}" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
"""


BANNER = """
Sluice serves on {url} (admin: {url}/admin/, API: {url}/api/docs/). Ctrl-C stops it.

  data         {data}
  a lost password or key:
    .venv/bin/python manage.py changepassword admin
    .venv/bin/python manage.py keys rotate --name {key}
"""


class Command(BaseCommand):
    help = "Prepare the database, make the first admin user and key on a new installation, and serve."
    requires_system_checks = []  # noqa: RUF012

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = settings.HOST, settings.PORT
        migrate()
        sock = listen(host, port)
        if not VirtualKey.objects.exists() and not get_user_model().objects.exists():
            self.stdout.write(first_installation())
        else:
            for line in never_used():
                self.stdout.write(line)
        self.stdout.write(BANNER.format(url=base_url(), data=where_data_is(), key=FIRST_KEY))
        self.stdout.flush()
        sys.stdout.flush()
        serve(surface=settings.SLUICE_SURFACE, host=host, port=port, workers=settings.WORKERS, sock=sock)


def never_used() -> list[str]:
    """Reminders of secrets that the first start showed and that were never used: they may have been lost."""
    lines = []
    if get_user_model().objects.filter(username="admin", last_login=None).exists():
        lines.append("Nobody has signed in as admin yet, whose password was shown at the first start.")
    if VirtualKey.objects.filter(name=FIRST_KEY, last_used_at=None, revoked_at=None).exists():
        lines.append(f"The client key {FIRST_KEY!r}, shown at the first start, was never used.")
    return lines


def where_data_is() -> str:
    """Where the data is, for people. It leaves out the URL of the database, which contains a password."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        return f"{database['NAME']} and {settings.DATA_DIR}"
    return f"PostgreSQL ({database['NAME']} on {database['HOST'] or 'this host'}) and {settings.DATA_DIR}"


def migrate() -> None:
    """Update the schema, if it is outdated. Finding out takes a tenth of the time of a needless run."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)


@transaction.atomic
def first_installation() -> str:
    """Make the first admin user, key and provider. Returns the text that shows them."""
    password = secrets.token_urlsafe(12)
    get_user_model().objects.create_superuser("admin", password=password)
    sync_provider_from_environment()
    model = "gpt-4.1-mini"
    if not Provider.objects.exists():
        model = SIMULATED_MODEL
        make_simulator()
    _, token = VirtualKey.objects.mint(name=FIRST_KEY)
    return WELCOME.format(url=base_url(), password=password, token=token, model=model)


def make_simulator() -> Provider:
    """The first provider of a new installation. It has only models with names of its own, never a real model."""
    provider = Provider(
        name="simulator",
        kind="simulator",
        priority=100,
        model_map={"simulator": "", "simulator-*": "", "simulator-small": "", "simulator-embedding": ""},
    )
    provider.full_clean()
    provider.save()
    return provider


def base_url() -> str:
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(settings.HOST, settings.HOST)  # noqa: S104 (shown, not bound)
    return f"http://{host}:{settings.PORT}"
