"""A private PostgreSQL server, and the databases in it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.kit.services import packages, processes

# Nothing in these databases has to survive a crash.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300", "log_min_messages=error")


def unprivileged_user() -> pwd.struct_passwd | None:
    """The user to run PostgreSQL as, because it refuses to run as root; None if we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


class Databases:
    """Databases with random names on a server that is given by a URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy of `template`, which nobody may be connected to. Returns its name."""
        name = f"sluice_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template or "template0")
        )
        self._execute(statement)
        return name

    def drop(self, name: str) -> None:
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)


class PostgresServer(Databases):
    """A private server. A test that breaks one starts its own: `with PostgresServer() as server:`."""

    def __init__(self, *settings: str) -> None:
        """With `PostgresServer("synchronous_commit=on")`, everything that was committed survives `stop()`."""
        initdb, postgres = packages.find("initdb"), packages.find("postgres")
        assert initdb, "packages.require() comes first"
        assert postgres
        self.program = postgres
        self.settings = (*FAST, *settings)
        self.directory = processes.make_directory("postgres")
        self.user = unprivileged_user()
        self.log = self.directory / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = processes.free_port()
        super().__init__(f"postgres://sluice@127.0.0.1:{self.port}/postgres")
        if self.user:
            os.chown(self.directory, self.user.pw_uid, self.user.pw_gid)
        self._initialize(initdb)

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> PostgresServer:
        """Start the server, at the same port as before after `stop()`. Does nothing if it is running."""
        if self.process is not None:
            return self
        settings = [part for setting in self.settings for part in ("-c", setting)]
        command = [
            str(self.program),
            "-D",
            str(self.data),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-k",
            "",
            *settings,
        ]
        with self.log.open("ab") as output:
            # SIGQUIT is PostgreSQL's immediate shutdown: its children end at once, and nothing is written any more.
            self.process = processes.start(command, output=output, user=self.user, parting="SIGQUIT")
        if not processes.poll(self._answers, timeout=20):
            self.stop()
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text(errors='replace')}")
        return self

    def stop(self) -> None:
        """Stop the server as a crash would, and keep its data."""
        if self.process is not None:
            processes.end(self.process, signal_number=signal.SIGQUIT)
            self.process = None

    def freeze(self) -> None:
        """Stop all its processes: connections are still accepted, but nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # first, so that it starts no more children
        for pid in self._children():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        for pid in (*self._children(), self.process.pid):
            os.kill(pid, signal.SIGCONT)

    def _children(self) -> list[int]:
        """The ids of its children: one process for each connection, and some more."""
        assert self.process is not None
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _initialize(self, initdb: Path) -> None:
        command: list[Any] = [initdb, "-D", self.data, "-U", "sluice", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        with self.log.open("ab") as output:
            code = processes.start(command, output=output, user=self.user).wait(60)
        if code:
            raise RuntimeError(f"initdb failed:\n{self.log.read_text(errors='replace')}")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended at its start:\n{self.log.read_text(errors='replace')}")
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
