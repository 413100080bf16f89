"""What the gate asks of each pytest: `-p tests.gate.plugin`. It tells of failures in a file, and runs part of them.

The parts go by files and options, never by a shell: a test's id may have any character in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

OWN_DATABASE = frozenset({"db", "transactional_db", "live_server", "django_db_reset_sequences"})


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gate")
    group.addoption("--gate-told", type=Path, help="write here, a line of JSON each, what failed and how it ended")
    group.addoption("--gate-again", action="store_true", help="a failure counts as one that is run again")
    group.addoption("--gate-only", type=Path, help="run the tests alone whose ids are in this file, as a list in JSON")
    group.addoption("--gate-share", type=Path, help="share the tests, file by file, with whom has this directory too")
    group.addoption("--gate-from-the-end", action="store_true", help="take one's share from the end")
    group.addoption("--gate-own-database", action="store_true", help="leave out tests without Django's own database")
    group.addoption("--gate-first", action="append", default=[], help="the tests below this path come first")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--gate-told"):
        config.pluginmanager.register(Teller(config, path))
    if path := config.getoption("--gate-share"):
        config.pluginmanager.register(Sharer(config, path))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if path := config.getoption("--gate-only"):
        wanted = set(json.loads(path.read_text()))
        keep(config, items, [item for item in items if item.nodeid in wanted])
    if config.getoption("--gate-own-database"):
        keep(config, items, [item for item in items if uses_own_database(item)])


def keep(config: pytest.Config, items: list[pytest.Item], some: list[pytest.Item]) -> None:
    kept = set(some)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = some


def uses_own_database(item: pytest.Item) -> bool:
    """Whether it asks the database that `TEST_DATABASE` chooses; servers under test have their own."""
    return item.get_closest_marker("django_db") is not None or not OWN_DATABASE.isdisjoint(item.fixturenames)  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    if report.failed and config.getoption("--gate-again"):
        return "rerun", "R", "RERUN"
    return None


class Teller:
    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config, self._path = config, path
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration  # type: ignore[assignment]
        if report.failed:
            parts = [report.longreprtext, *(f"--- {name} ---\n{text}" for name, text in report.sections)]
            path = self._config.rootpath / report.nodeid.partition("::")[0]
            self._tell(failed=report.nodeid, path=str(path), when=report.when, text="\n".join(parts))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Without this last word the run has crashed, whatever its exit code."""
        self._tell(finished=int(exitstatus), seconds=dict(self._seconds))

    def _tell(self, **told: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(told) + "\n")


class Sharer:
    """Those that have the same tests and the same directory run each file once, from the start or from the end.

    A file is collected when it is taken: to import and collect all of them takes 15 s of a processor.
    """

    def __init__(self, config: pytest.Config, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._from_the_end = config.getoption("--gate-from-the-end")
        self._first = tuple(config.getoption("--gate-first"))
        self._files: list[pytest.Collector] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        def only_remember(node: pytest.Collector) -> Iterator[pytest.Item]:
            self._files += self._files_in(session, node)
            return iter(())

        genitems = session.genitems
        session.genitems = only_remember  # type: ignore[method-assign, assignment]
        try:
            return (yield)
        finally:
            session.genitems = genitems  # type: ignore[method-assign]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = self._mine(session)
        item = next(items, None)
        while item is not None:
            following = next(items, None)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            item = following
        return True

    def _mine(self, session: pytest.Session) -> Iterator[pytest.Item]:
        session.testscollected = len(self._files)
        in_order = sorted(self._files, key=lambda file: not file.nodeid.startswith(self._first) if self._first else 0)
        for file in reversed(in_order) if self._from_the_end else in_order:
            try:
                (self._directory / f"{file.nodeid.replace('/', '+')}.taken").open("x").close()
            except FileExistsError:
                continue  # another one has it
            yield from self._collected(session, file)

    def _files_in(self, session: pytest.Session, node: pytest.Collector) -> Iterator[pytest.Collector]:
        if not isinstance(node, pytest.Directory):
            yield node
            return
        node.ihook.pytest_collectstart(collector=node)
        report = node.ihook.pytest_make_collect_report(collector=node)
        node.ihook.pytest_collectreport(report=report)
        if report.failed:
            raise session.Interrupted(f"{node.nodeid} can't be collected")
        for child in report.result:
            yield from self._files_in(session, child)

    def _collected(self, session: pytest.Session, file: pytest.Collector) -> list[pytest.Item]:
        """As pytest does with all files together."""
        before = session.testsfailed
        session.items = list(session.genitems(file))
        if session.testsfailed > before:
            raise session.Interrupted(f"{file.nodeid} can't be collected")
        session.config.hook.pytest_collection_modifyitems(session=session, config=session.config, items=session.items)
        session.config.hook.pytest_collection_finish(session=session)
        return session.items
