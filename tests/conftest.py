"""Fixtures. Django's settings read the environment that is made here, so this comes before any import of Django's."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

import django
import hypothesis
import pytest

from tests.kit.environment import isolate
from tests.kit.services import SERVICES, Missing, RedisServer, Services, packages

ON_POSTGRES = os.environ.get("TEST_DATABASE", "sqlite") == "postgres"

isolate(
    DATA_DIR=SERVICES.directory / "data",
    # PostgreSQL's address is filled in when it runs (`django_db_modify_db_settings`).
    DATABASE_URL="postgres://127.0.0.1:1/tests" if ON_POSTGRES else f"sqlite:///{SERVICES.directory / 'tests.sqlite3'}",
    DJANGO_SETTINGS_MODULE="config.settings",
)

# pytest-django does this only where the settings are named on its own ways.
django.setup()

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

from tests.kit.management import minted, new_project, set_prices  # noqa: E402
from tests.kit.providers import add_provider  # noqa: E402
from tests.kit.sluice import Sluice, StartSluice  # noqa: E402
from tests.kit.upstream import Upstream, json_answer  # noqa: E402


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the programs that the collected tests need. Not in a fixture: an installation may outlast a test's limit."""
    if session.config.option.collectonly:
        return
    fixtures = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    needed = set(Services.programs()) if "services" in fixtures else set()
    if ON_POSTGRES:
        needed |= Services.programs() - {"redis-server"}
    needed |= {"chromium", "nginx"} & fixtures
    try:
        packages.require(needed)
    except Missing as error:
        pytest.exit(str(error), returncode=3)


FLUSHING = frozenset({"transactional_db", "live_server"})
_flushed = False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have the rows that migrations make, where a test with transactions of its own has flushed them.

    pytest-django runs such tests last; a run that shares its files with another one cannot.
    """
    global _flushed
    marker = item.get_closest_marker("django_db")
    if (marker is not None and marker.kwargs.get("transaction")) or not FLUSHING.isdisjoint(item.fixturenames):  # type: ignore[attr-defined]
        _flushed = True
    elif _flushed:
        _flushed = False
        from django.apps import apps
        from pytest_django.plugin import blocking_manager_key

        from usage.models import AuditEntry

        tiers = importlib.import_module("keys.migrations.0003_first_tiers_and_accounts")
        with item.config.stash[blocking_manager_key].unblock():
            tiers.make(apps, None)
            AuditEntry.objects.all().delete()  # which tells of these tiers


def pytest_unconfigure() -> None:
    SERVICES.close()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def services() -> Services:
    """PostgreSQL and Redis, each started when it is first asked for."""
    return SERVICES


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser's program."""
    return str(packages.find("chromium"))


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of the program."""
    return str(packages.find("nginx"))


@pytest.fixture(scope="module")
def _upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(_upstream: Upstream) -> Iterator[Upstream]:
    """The programmable provider, as new for each test. A test's answer that raised fails the test."""
    _upstream.reset()
    yield _upstream
    errors = _upstream.errors
    _upstream.reset()
    if errors:
        raise errors[0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`pytest.mark.server(each={"sqlite": {}, "postgres": {"database": "postgres"}})`: a server for each of these."""
    each = marked(metafunc.definition, "server").get("each")
    if each and "_one_of_each" in metafunc.fixturenames:
        metafunc.parametrize("_one_of_each", list(each.values()), ids=list(each), indirect=True, scope="module")


@pytest.fixture(scope="module")
def _one_of_each(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(getattr(request, "param", {}))


@pytest.fixture(scope="module")
def sluice(
    request: pytest.FixtureRequest, services: Services, _upstream: Upstream, _one_of_each: dict[str, Any]
) -> Iterator[Sluice]:
    """One server for all tests of the module, on SQLite and with the module's upstream behind it.

    The module's marker `server` says what else it has: `pytest.mark.server(redis=True, TTFT_TIMEOUT_SECS=2)`, as
    `Sluice.start`; `prices` of models, by their names; `models` of a second provider, with its own names for them;
    `simulated=True` where a test looks at nothing that its provider got or gave.
    """
    options = {**marked(request.node, "server"), **_one_of_each}
    if not options.get("simulated"):
        options.setdefault("upstream_url", _upstream.url)
    prices, models = options.pop("prices", {}), options.pop("models", {})
    options.pop("each", None)
    with Sluice.start(**options) as server:
        if prices:
            set_prices(server, prices)
        if models:
            add_provider(server, _upstream.url, "mapped", models)
        yield server


@pytest.fixture(scope="module")
def server(sluice: Sluice) -> Sluice:
    """The same, by its other name."""
    return sluice


@pytest.fixture(scope="module")
def key(request: pytest.FixtureRequest, sluice: Sluice) -> str:
    """A client's key for the module: `pytest.mark.key(rpm=3, project={"unmetered": "allow"})`, in its own project."""
    fields = marked(request.node, "key")
    if "project" in fields:
        fields["project"] = new_project(sluice, **fields["project"])
    return minted(sluice, **fields)[1]


def marked(node: pytest.Item | pytest.Module, name: str) -> dict[str, Any]:
    """What the nearest marker of this name says."""
    marker = node.get_closest_marker(name)
    return dict(marker.kwargs) if marker else {}


@pytest.fixture(scope="module")
def on_postgres(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    """A second server for the module, on PostgreSQL."""
    with Sluice.start("postgres", upstream_url=_upstream.url) as server:
        yield server


@pytest.fixture(scope="module")
def redis_server(services: Services) -> Iterator[RedisServer]:
    """A Redis of the module's own, which it may break."""
    packages.require(["redis-server"])
    with RedisServer() as server:
        yield server


@pytest.fixture
def receiver(services: Services) -> Iterator[Upstream]:
    """Who is told of events or alerts, and takes them all."""
    with Upstream() as upstream:
        upstream.script = json_answer({})
        yield upstream


@pytest.fixture
def start_sluice(services: Services, upstream: Upstream) -> Iterator[StartSluice]:
    """`start_sluice(database="postgres", redis=True, workers=4)`: as `Sluice.start`, the test's upstream behind it."""
    started: list[Sluice] = []

    def start(*args: object, **options: object) -> Sluice:
        behind = {} if options.get("simulated") else {"upstream_url": upstream.url}
        server = Sluice.start(*args, **{**behind, **options})  # type: ignore[arg-type]
        started.append(server)
        return server

    yield start
    upstream.reset()  # or a stream that a test left open holds a server's end up
    for server in reversed(started):
        server.close()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let Django empty its own test database between tests, which the audit log's triggers would refuse."""
    from django.db import connection

    from usage.audit.guard import lift

    with django_db_blocker.unblock():
        lift(connection)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(services: Services) -> None:
    """Have Django's own test database in a file, which every thread may open, or on our PostgreSQL."""
    from django.db import connections

    settings = connections["default"].settings_dict
    if not ON_POSTGRES:
        settings["TEST"]["NAME"] = str(services.directory / "django.sqlite3")
        return
    import environ

    address = environ.Env.db_url_config(services.postgres.url)
    settings.update({name: address[name] for name in ("HOST", "PORT", "USER", "PASSWORD")})
