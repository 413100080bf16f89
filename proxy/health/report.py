"""Reports the state of the parts that requests need. Each is asked with a short timeout, and once a second at most.

So requests for `/health/detailed`, however many, cost the database one query a second, and wait `TIMEOUT_S` at most for
a part that does not answer. Nothing here blocks the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisError

from providers.health import DOWN, UNKNOWN, Health, health_of_providers
from proxy.components import Components
from proxy.configuration.database_thread import DatabaseThread
from usage.journal.health import JournalHealth, journal_health
from usage.loops import LOOPS, State, end_tasks, read_states

TIMEOUT_S = 1.0
KEPT_S = 1.0
STARTING_S = 5.0
"""The ledger process starts a moment after this one. For so long its absence is not reported as a failure."""
SKIPPED_ROWS_SHOWN = 20
UNREADABLE = "The journal's directory cannot be read."
OK, DEGRADED, UNAVAILABLE = "ok", "degraded", "unavailable"


class Part(NamedTuple):
    """`status` is `ok`, `degraded`, `down` or `unknown`; `more` is what only operators are told."""

    status: str
    latency_ms: float | None = None
    more: dict[str, Any] = {}  # noqa: RUF012 (nobody changes it)


class Report(NamedTuple):
    """`since` has Unix seconds for each part: when this process first found it in its present status."""

    status: str
    parts: dict[str, Part]
    since: dict[str, float]
    providers: Sequence[Health]
    uptime_s: float


class Condition:
    """One for each process, on its event loop."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._started_at = time.monotonic()
        self._report: Report | None = None
        self._reported_at = 0.0
        self._asking: asyncio.Task[Report] | None = None
        self._statuses: dict[str, tuple[str, float]] = {}
        self._looked: asyncio.Task[JournalHealth | None] | None = None
        self._providers: Sequence[Health] = ()
        # A thread of its own has its own database connection: if a query hangs here, look-ups of keys are not delayed.
        self._thread = DatabaseThread("condition", settings.DATABASE_TIMEOUT_SECS)
        self._query: asyncio.Task[Sequence[Health]] | None = None
        self._redis = (
            redis.asyncio.Redis.from_url(
                settings.REDIS_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=None
            )
            if settings.REDIS_URL
            else None
        )

    async def report(self) -> Report:
        """The report of now, or of less than a second ago."""
        if self._report is not None and time.monotonic() - self._reported_at < KEPT_S:
            return self._report
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        await end_tasks(task for task in (self._asking, self._query, self._looked) if task is not None)
        if self._redis is not None:
            await self._redis.aclose()
        await self._thread.close()

    async def _ask(self) -> Report:
        try:
            checks: dict[str, Callable[[], Awaitable[Part]]] = {"database": self._database}
            if self._redis is not None:
                checks["redis"] = self._ping
            if settings.SLUICE_SURFACE != "admin":
                checks |= {"ledger": self._ledger, "journal": self._journal}
            checks |= {"loops": self._loops, "configuration": self._configuration}
            self._looked = asyncio.create_task(asyncio.to_thread(read_journal))
            parts = dict(zip(checks, await asyncio.gather(*(ask() for ask in checks.values())), strict=True))
            parts["providers"] = self._all_providers()
            now = time.time()
            for name, part in parts.items():
                if self._statuses.get(name, ("",))[0] != part.status:
                    self._statuses[name] = part.status, now
            since = {name: at for name, (_, at) in self._statuses.items()}
            uptime_s = time.monotonic() - self._started_at
            self._report = Report(overall(parts), parts, since, self._providers, uptime_s)
            self._reported_at = time.monotonic()
            return self._report
        finally:
            self._asking = None

    async def _database(self) -> Part:
        """The query that tries the database also reads the health of the providers."""
        began = time.monotonic()
        if self._query is None:
            self._query = asyncio.create_task(self._thread.run(health_of_providers, retry=False))
        query = self._query
        if not (await asyncio.wait({query}, timeout=TIMEOUT_S))[0]:
            return Part(DOWN, None, {"detail": f"No answer within {TIMEOUT_S:g} s."})  # the next report waits for it
        self._query = None
        try:
            self._providers = query.result()
        except Exception as error:  # whatever it is, the next report asks anew
            return Part(DOWN, None, {"detail": f"No answer ({type(error).__name__})."})
        return Part(OK, milliseconds_since(began))

    async def _ping(self) -> Part:
        assert self._redis is not None
        began = time.monotonic()
        try:
            await asyncio.wait_for(self._redis.ping(), TIMEOUT_S)
        except (TimeoutError, RedisError, OSError) as error:
            return Part(DOWN, None, {"detail": f"No answer ({type(error).__name__}); limits are decided alone."})
        limits = self._components.limits
        if not limits.up:
            return Part(
                DEGRADED, milliseconds_since(began), {"detail": "This worker still decides about limits alone."}
            )
        return Part(OK, milliseconds_since(began))

    async def _journal_health(self) -> JournalHealth | None:
        assert self._looked is not None
        return await self._looked

    async def _ledger(self) -> Part:
        health = await self._journal_health()
        if health is None:
            return Part(UNKNOWN, None, {"detail": UNREADABLE})
        more: dict[str, Any] = {
            "caught_up_at": moment(health.caught_up_at),
            "quarantined_bytes": health.quarantined_bytes,
        }
        if not health.has_writer:
            if time.monotonic() - self._started_at < STARTING_S:
                return Part(UNKNOWN, None, {**more, "detail": "The process that writes it is being started."})
            return Part(DOWN, None, {**more, "detail": "No process writes the ledger; rows wait in the journal."})
        if health.failing:
            return Part(DOWN, None, {**more, "detail": f"The database takes no rows ({health.failing})."})
        return Part(OK, None, more)

    async def _journal(self) -> Part:
        health = await self._journal_health()
        if health is None:
            return Part(DOWN, None, {"detail": UNREADABLE})
        more: dict[str, Any] = {"lag_bytes": health.waiting_bytes, "max_bytes": settings.JOURNAL_MAX_BYTES}
        if self._components.journal.is_full or health.waiting_bytes > settings.JOURNAL_MAX_BYTES:
            return Part(DOWN, None, {**more, "detail": "It is full; events are dropped until the ledger takes some."})
        if self._components.journal.is_holding:
            return Part(DEGRADED, None, {**more, "detail": "The disk takes no events; they wait in memory."})
        return Part(OK, None, more)

    async def _loops(self) -> Part:
        """The loops of this worker, and of the ledger process."""
        states = {**await asyncio.to_thread(read_loops), **LOOPS.states()}
        now = time.time()
        down = sorted(name for name, state in states.items() if not state.is_up(now))
        more: dict[str, Any] = {
            "loops": {
                name: {"up": name not in down, "failures": state.failures, "error": state.error}
                for name, state in sorted(states.items())
            }
        }
        if not down:
            return Part(OK, None, more)
        return Part(DEGRADED, None, {**more, "detail": f"Failing, and tried again: {', '.join(down)}."})

    async def _configuration(self) -> Part:
        problems = [problem for part in self._components.snapshot.problems.values() for problem in part]
        if not problems:
            return Part(OK)
        more = {"detail": "Some rows cannot be used, and are skipped.", "skipped": problems[:SKIPPED_ROWS_SHOWN]}
        return Part(DEGRADED, None, more)

    def _all_providers(self) -> Part:
        statuses = {health.status for health in self._providers}
        if not self._components.snapshot.catalog.providers:
            return Part(DOWN, None, {"detail": "No provider is enabled."})
        if statuses == {DOWN}:
            return Part(DOWN, None, {"detail": "Every provider is down."})
        if closed := self._components.snapshot.catalog.closed:
            detail = f"ENCRYPTION_KEY does not open the credentials {', '.join(closed)}."
            return Part(DEGRADED, None, {"detail": detail})
        if DOWN in statuses:
            return Part(DEGRADED)
        return Part(UNKNOWN if statuses <= {UNKNOWN} else OK)


def is_ready() -> bool:
    """Whether every loop of this process that requests depend on is running."""
    now = time.time()
    return all(state.is_up(now) for state in LOOPS.states().values() if state.needed)


def read_loops() -> dict[str, State]:
    try:
        return read_states(settings.JOURNAL_DIR)
    except OSError:
        return {}


def overall(parts: dict[str, Part]) -> str:
    """`unavailable`: Sluice cannot do its work. `degraded`: something fails that Sluice goes on without."""
    needed = "database" if settings.SLUICE_SURFACE == "admin" else "providers"
    if parts[needed].status == DOWN:
        return UNAVAILABLE
    return OK if all(part.status in (OK, UNKNOWN) for part in parts.values()) else DEGRADED


def read_journal() -> JournalHealth | None:
    """The journal's health; None if its directory cannot be read."""
    try:
        return journal_health(settings.JOURNAL_DIR)
    except OSError:
        return None


def milliseconds_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)


def moment(at: float | datetime | None) -> str | None:
    """A time as ISO 8601 in UTC; None if there is none."""
    if not at:
        return None
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return when.isoformat(timespec="milliseconds")
