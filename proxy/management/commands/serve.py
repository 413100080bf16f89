"""`manage.py serve`: Sluice under uvicorn, with uvloop and httptools."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from uvicorn.config import STARTUP_FAILURE

from keys.limits.connection import is_cluster
from proxy.server.ending import LAST_SECS, EndingServer, end_within
from proxy.server.supervisor import Supervisor
from usage.ledger_process import STOP_S, LedgerProcess

BACKLOG = 4096


class Command(BaseCommand):
    help = "Serve the data plane, the admin surface or both."
    requires_system_checks = []  # noqa: RUF012

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--surface", choices=["all", "proxy", "admin"], default=settings.SLUICE_SURFACE)
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--workers", type=int, default=settings.WORKERS)

    def handle(self, *, surface: str, host: str, port: int, workers: int, **options: Any) -> None:
        serve(surface=surface, host=host, port=port, workers=workers)


def serve(*, surface: str, host: str, port: int, workers: int, sock: socket.socket | None = None) -> None:
    """Serve on `sock`, if any, until SIGTERM or SIGINT, then let requests end within `GRACE_SECS`, and exit 0."""
    if workers < 1:
        raise CommandError("--workers: use a number from 1.")
    if workers > 1 and not settings.REDIS_URL:
        raise CommandError(
            f"--workers: {workers} workers need REDIS_URL, which they share their state through; set it, or use 1."
        )
    refuse_cluster()
    sock = sock or listen(host, port)
    # Workers are new processes, which get the surface through the environment.
    os.environ["SLUICE_SURFACE"] = settings.SLUICE_SURFACE = surface
    # uvicorn raises a signal again after it has shut down, which would end an orderly stop with an error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = server_config(host, port, workers)
    with ledger_writer(surface):
        run(config, workers, sock)


def refuse_cluster() -> None:
    if settings.REDIS_URL and is_cluster(settings.REDIS_URL):
        raise CommandError(
            "REDIS_URL: this is a node of a Redis Cluster, which Sluice cannot use; give it a Redis of its own."
        )


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket. Raises `CommandError` if that fails, such as for a port that is taken.

    It is called before secrets are made and shown. Clients that connect already wait until they are served.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        raise CommandError(
            f"{host}:{port} cannot be listened on ({reason}): set HOST or PORT, or stop what is there."
        ) from None
    # The ledger process is forked from this one, and outlives it for a moment: it must not keep the port.
    os.register_at_fork(after_in_child=sock.close)
    return sock


@contextlib.contextmanager
def ledger_writer(surface: str) -> Iterator[None]:
    """Run the ledger process, unless another one writes the ledger, or this server has no data plane."""
    if settings.LEDGER_WRITER == "separate" or surface == "admin":
        yield
        return
    os.environ["LEDGER_WRITER"] = settings.LEDGER_WRITER = "separate"
    with LedgerProcess(settings.JOURNAL_DIR):
        yield


def run(config: uvicorn.Config, workers: int, sock: socket.socket) -> None:
    if workers == 1:
        server = EndingServer(config)
        server.run(sockets=[sock])
        end_within(STOP_S + LAST_SECS)  # the ledger process ends next
        if not server.started:
            sys.exit(STARTUP_FAILURE)
        return
    # The workers combine their metrics through files in this folder, which they find in their environment.
    with tempfile.TemporaryDirectory(prefix="sluice-metrics-", ignore_cleanup_errors=True) as metrics_dir:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_dir
        Supervisor(config, sockets=[sock]).run()


def server_config(host: str, port: int, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        "config.asgi:application",
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="config.http_protocol:HttpProtocol",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.KEEP_ALIVE_SECS),
        timeout_graceful_shutdown=int(settings.GRACE_SECS),
        backlog=BACKLOG,
    )
