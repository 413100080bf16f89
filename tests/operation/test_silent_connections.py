"""X90: connections to PostgreSQL fall silent while new ones would work. All that uses them goes on by new ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.db import OperationalError, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from config.databases import database_from
from config.environment import Environment
from tests.kit import plain
from tests.kit.databases import make_database
from tests.kit.health import becomes, health_of
from tests.kit.ledger import row_of
from tests.kit.management import minted
from tests.kit.requests import ask
from tests.kit.services import Services
from tests.kit.services.silent_proxy import SilentProxy
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon


def through(proxy: SilentProxy, url: str) -> str:
    parts = urlsplit(url)
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{proxy.port}"))


@pytest.fixture
def proxy(services: Services) -> Iterator[SilentProxy]:
    with SilentProxy(urlsplit(services.postgres.url).port or 5432) as proxy:
        yield proxy


@pytest.fixture
def server(proxy: SilentProxy, start_sluice: StartSluice) -> Sluice:
    return start_sluice(database=through(proxy, make_database("postgres")), DATABASE_TIMEOUT_SECS=1)


def test_the_ledger_goes_on(server: Sluice, proxy: SilentProxy, upstream: Upstream):
    _, key = minted(server)
    row_of(server, ask(server, key).headers["x-request-id"])
    assert proxy.silence() > 0
    answers = [ask(server, key) for _ in range(5)]
    for answer in answers:
        assert row_of(server, answer.headers["x-request-id"])["outcome"] == "complete"
    assert "The database says nothing on a connection" in server.log_text()
    assert server.stop() == 0


def test_the_management_api_goes_on(server: Sluice, proxy: SilentProxy):
    assert server.api("GET", "/api/keys").status_code == 200
    assert proxy.silence() > 0
    soon(lambda: server.api("GET", "/api/keys").status_code == 200)


def test_a_stop_does_not_wait_for_what_is_silent(server: Sluice, proxy: SilentProxy, upstream: Upstream):
    _, key = minted(server)
    row_of(server, ask(server, key).headers["x-request-id"])
    assert proxy.silence() > 0
    request_id = ask(server, key).headers["x-request-id"]
    assert server.stop() == 0
    server.launch()
    assert row_of(server, request_id)["outcome"] == "complete"


def test_health_tells_that_all_is_silent_and_known_keys_are_served(
    server: Sluice, proxy: SilentProxy, upstream: Upstream
):
    _, key = minted(server)
    row_of(server, ask(server, key).headers["x-request-id"])
    becomes(server, "loops", "ok", "ok")
    assert proxy.silence(new_too=True) > 0
    becomes(server, "database", "down", "degraded")
    soon(lambda: health_of(server)["components"]["loops"]["status"] != "ok")
    assert plain.get(f"{server.url}/ready").status_code == 200
    answer = ask(server, key)
    assert answer.status_code == 200
    proxy.pass_new()
    becomes(server, "database", "ok", "ok")
    assert row_of(server, answer.headers["x-request-id"])["outcome"] == "complete"
    assert server.stop() == 0


# --- one connection -------------------------------------------------------------------------------------------


@pytest.fixture
def connection(
    proxy: SilentProxy, settings: Any, services: Services, django_db_blocker: Any
) -> Iterator[DatabaseWrapper]:
    settings.DATABASE_TIMEOUT_SECS, settings.DATABASE_STATEMENT_TIMEOUT_SECS = 0.5, 60
    environment = Environment({"DATABASE_URL": through(proxy, services.postgres.url)})
    options = {**connections["default"].settings_dict, **database_from(environment, services.directory, 2, 60)}
    connection = DatabaseWrapper({**options, "TIME_ZONE": None}, "watched")
    with django_db_blocker.unblock():
        connection.connect()
        yield connection
        connection.close()


def test_a_statement_that_takes_long_is_waited_for(connection: DatabaseWrapper):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(2), 7")
        assert cursor.fetchone()[1] == 7


def test_a_statement_that_waits_for_a_lock_is_waited_for(connection: DatabaseWrapper, services: Services):
    with psycopg.connect(services.postgres.url) as other:
        other.execute("SELECT pg_advisory_lock(77)")
        timer = threading.Timer(1.5, lambda: other.execute("SELECT pg_advisory_unlock(77)"))
        timer.start()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(77)")
            cursor.execute("SELECT pg_advisory_unlock(77)")
            assert cursor.fetchone() == (True,)
        timer.join()


@pytest.mark.parametrize("what", ["statement", "commit", "copy"])
def test_what_is_silent_fails(connection: DatabaseWrapper, proxy: SilentProxy, what: str):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE pieces (number int)")
        if what == "commit":
            connection.set_autocommit(False)
            cursor.execute("INSERT INTO pieces VALUES (1)")
        assert proxy.silence() == 1
        with pytest.raises(OperationalError, match="has not answered within"):  # noqa: PT012 (one of three)
            if what == "statement":
                cursor.execute("SELECT 1")
            elif what == "commit":
                connection.commit()
            else:
                with connection.wrap_database_errors, cursor.copy("COPY pieces FROM STDIN") as copy:
                    copy.write_row((1,))
    assert connection.connection is None or connection.connection.closed
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
