"""The fixtures of all tests.

Django's settings read the environment that this module prepares, so it does so before it imports code that needs them.
"""

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
    # `django_db_modify_db_settings` sets PostgreSQL's real address when it runs.
    DATABASE_URL="postgres://127.0.0.1:1/tests" if ON_POSTGRES else f"sqlite:///{SERVICES.directory / 'tests.sqlite3'}",
    DJANGO_SETTINGS_MODULE="config.settings",
)

# pytest-django calls this only if the settings are named before this module runs.
django.setup()

# No deadlines: how long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

from tests.kit.management import minted, new_project, set_prices  # noqa: E402
from tests.kit.providers import add_provider  # noqa: E402
from tests.kit.sluice import Sluice, StartSluice  # noqa: E402
from tests.kit.upstream import Upstream, json_answer  # noqa: E402


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install the programs that the collected tests need. A fixture cannot: it may take longer than a test's limit."""
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
    """Make the rows of the migrations again if a test with transactions of its own has flushed them.

    pytest-django runs such tests last, but a run that shares the test files with other processes cannot.
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
            AuditEntry.objects.all().delete()  # the entries about these tiers


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
    """The path of the browser."""
    return str(packages.find("chromium"))


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx."""
    return str(packages.find("nginx"))


@pytest.fixture(scope="module")
def _upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(_upstream: Upstream) -> Iterator[Upstream]:
    """The programmable provider, reset for each test. The test fails if one of its answer functions raised."""
    _upstream.reset()
    yield _upstream
    errors = _upstream.errors
    _upstream.reset()
    if errors:
        raise errors[0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests once for each entry of `pytest.mark.server(each={"sqlite": {}, "postgres": {"database": …}})`."""
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
    """One server for all tests of the module. It is on SQLite, and its provider is the module's upstream.

    The module's marker `server` changes this: `pytest.mark.server(redis=True, TTFT_TIMEOUT_SECS=2)`. It takes what
    `Sluice.start` takes; `prices`, by model; and `models`, a second provider's names for models. Use `simulated=True`
    if no test looks at what the provider got or sent.
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
    """The fixture `sluice` under another name."""
    return sluice


@pytest.fixture(scope="module")
def key(request: pytest.FixtureRequest, sluice: Sluice) -> str:
    """A virtual key for the module.

    The marker `pytest.mark.key(rpm=3, project={"unmetered": "allow"})` sets its fields; `project` makes a new project.
    """
    fields = marked(request.node, "key")
    if "project" in fields:
        fields["project"] = new_project(sluice, **fields["project"])
    return minted(sluice, **fields)[1]


def marked(node: pytest.Item | pytest.Module, name: str) -> dict[str, Any]:
    """The keyword arguments of the nearest marker of this name; none if there is no such marker."""
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
    """A receiver of events or alerts that accepts all of them."""
    with Upstream() as upstream:
        upstream.script = json_answer({})
        yield upstream


@pytest.fixture
def start_sluice(services: Services, upstream: Upstream) -> Iterator[StartSluice]:
    """Starts servers for one test: `start_sluice(database="postgres", redis=True, workers=4)`, as `Sluice.start`.

    Their provider is the test's upstream, unless they are `simulated`.
    """
    started: list[Sluice] = []

    def start(*args: object, **options: object) -> Sluice:
        behind = {} if options.get("simulated") else {"upstream_url": upstream.url}
        server = Sluice.start(*args, **{**behind, **options})  # type: ignore[arg-type]
        started.append(server)
        return server

    yield start
    upstream.reset()  # a stream that a test left open would delay the end of its server
    for server in reversed(started):
        server.close()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Remove the audit log's triggers: they would keep Django from emptying its test database between tests."""
    from django.db import connection

    from usage.audit.guard import lift

    with django_db_blocker.unblock():
        lift(connection)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(services: Services) -> None:
    """Keep Django's test database in a file, so that every thread can open it, or on the tests' PostgreSQL."""
    from django.db import connections

    settings = connections["default"].settings_dict
    if not ON_POSTGRES:
        settings["TEST"]["NAME"] = str(services.directory / "django.sqlite3")
        return
    import environ

    address = environ.Env.db_url_config(services.postgres.url)
    settings.update({name: address[name] for name in ("HOST", "PORT", "USER", "PASSWORD")})
