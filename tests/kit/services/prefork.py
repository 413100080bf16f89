"""The preforking process: a Python that has imported the libraries, and forks for each order from `forks.py`.

A test run starts some thousand `manage.py` commands and servers, and the imports of libraries are four fifths of a
command's time. This file is run by its path and imports nothing of Sluice's, so each fork reads the code and its
settings by itself. With the argument `loaded` it loads the code too (`loaded.py`), which is three quarters of the rest.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import socket
import sys
import time
from contextlib import suppress
from typing import Any

LARGEST_MESSAGE = 1 << 20
LIBRARIES = (
    "asyncio",
    "celery.app.task",
    "celery.schedules",
    "channels.db",
    "channels.layers",
    "channels.routing",
    "channels.sessions",
    "cryptography.fernet",
    "django.conf.locale.en.formats",
    "django.contrib.admin.options",
    "django.contrib.admin.templatetags.admin_list",
    "django.contrib.admin.templatetags.admin_modify",
    "django.contrib.admin.views.main",
    "django.contrib.admindocs.views",
    "django.contrib.auth.hashers",
    "django.contrib.auth.password_validation",
    "django.contrib.auth.tokens",
    "django.contrib.messages.middleware",
    "django.contrib.messages.storage.fallback",
    "django.contrib.postgres.fields",
    "django.contrib.sessions.backends.db",
    "django.contrib.staticfiles.storage",
    "django.core.asgi",
    "django.core.mail",
    "django.core.management.commands.migrate",
    "django.core.servers.basehttp",
    "django.db.backends.dummy.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.autodetector",
    "django.db.models.sql.compiler",
    "django.forms",
    "django.middleware.clickjacking",
    "django.middleware.common",
    "django.middleware.security",
    "django.template.context_processors",
    "django.template.loaders.app_directories",
    "django.template.loaders.cached",
    "django.templatetags.l10n",
    "django.test.signals",
    "django.urls",
    "django.views.decorators.http",
    "django.views.generic",
    "django_filters",
    "django_prometheus",
    "drf_spectacular.utils",
    "genai_prices",
    "genai_prices.data",
    "genai_prices.data_units",
    "getpass",
    "httptools",
    "httpx",
    "jwt",
    "kombu.transport.redis",
    "msgspec.json",
    "prometheus_client.core",
    "prometheus_client.multiprocess",
    "psycopg",
    "redis.asyncio",
    "rest_framework.authentication",
    "rest_framework.exceptions",
    "rest_framework.metadata",
    "rest_framework.mixins",
    "rest_framework.negotiation",
    "rest_framework.permissions",
    "rest_framework.relations",
    "rest_framework.request",
    "rest_framework.response",
    "rest_framework.serializers",
    "rest_framework.urlpatterns",
    "rest_framework.utils.breadcrumbs",
    "rest_framework.utils.encoders",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.supervisors.multiprocess",
    "uvloop",
    "whitenoise.middleware",
    "yaml",
)
"""The modules of libraries that can be imported before there are settings."""


class Prefork:
    """Takes orders until the other end closes. `serve` returns only in the forks, each with its order."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._poll = select.poll()
        self._poll.register(orders, select.POLLIN)
        self._children: dict[int, tuple[int, socket.socket]] = {}
        """By a process's pidfd: its id, and the socket that gets its exit code."""

    def serve(self) -> dict[str, Any]:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._children:
                    self._tell_end(descriptor)
                elif (order := self._take()) is not None:
                    return order

    def _take(self) -> dict[str, Any] | None:
        message, descriptors, _, _ = socket.recv_fds(self._orders, LARGEST_MESSAGE, 3)
        if not message:
            sys.exit()
        told, *outputs = descriptors
        pid = os.fork()
        if pid == 0:
            self._forget(told, outputs)
            order: dict[str, Any] = json.loads(message)
            return order
        for output in outputs:
            os.close(output)
        teller = socket.socket(fileno=told)
        ended = os.pidfd_open(pid)
        self._children[ended] = (pid, teller)
        self._poll.register(ended, select.POLLIN)
        teller.send(str(pid).encode())
        return None

    def _forget(self, told: int, outputs: list[int]) -> None:
        """Begin a new session, and close everything but standard input and the outputs."""
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(outputs[0], 1)
        os.dup2(outputs[1], 2)
        self._orders.detach()
        for _, teller in self._children.values():
            teller.detach()
        os.closerange(3, max(told, *outputs, *self._children, 64) + 1)

    def _tell_end(self, descriptor: int) -> None:
        pid, teller = self._children.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        with suppress(BrokenPipeError):  # nobody waits for the exit code any more
            teller.send(str(os.waitstatus_to_exitcode(status)).encode())
        teller.close()


def main() -> None:
    """Take orders. Each fork goes on as `python manage.py …` in the directory and environment of its order."""
    spawned, loaded = map(importlib.import_module, ("spawned", "loaded"))  # beside this file
    del sys.path[0]  # this file's directory has modules with the names of libraries
    for name in LIBRARIES:
        importlib.import_module(name)
    from django.conf import settings

    if settings.configured:
        sys.exit("a library has read Django's settings before a fork had its own")
    code = None
    if "loaded" in sys.argv:
        sys.path.insert(0, os.getcwd())
        code = loaded.Loaded()
        del sys.path[0]
    gc.collect()
    gc.freeze()  # so that the garbage collectors of the forks leave all of this alone
    order = Prefork(socket.socket(fileno=int(sys.argv[1]))).serve()
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    os.chdir(order["cwd"])
    sys.argv = order["args"]
    sys.path.insert(0, order["cwd"])
    if code is not None and not code.fits():
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if spawned.is_wanted(sys.argv) and (program := spawned.fork_workers()):
        exec(program, {"__name__": "__main__"})
        return
    runpy.run_path(os.path.join(order["cwd"], sys.argv[0]), run_name="__main__")


if __name__ == "__main__":
    main()
