"""The contract of admission: `LimitsBackend`, and what goes in and out of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from keys.limits.periods import span_at
from keys.limits.scope import Scopes

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What one request wants to reserve.

    `requests`: how many it counts as for `daily` and `max_requests`: 1, n for a batch, 0 for what is free. For rpm, rps
    and parallel every request is one. `tokens`: estimate of prompt and requested output. `cost`: estimate in
    picodollars; None: the price is unknown. `bounded`: the estimate cannot be passed, because the request names its
    largest output. For a request that is not bounded, the estimate had better be that of the model's largest output: it
    is what holds back others that run beside it, until the first of its kind has been settled.
    """

    requests: int = 1
    tokens: int = 0
    cost: int | None = 0
    bounded: bool = False


class Used(NamedTuple):
    """What a request has really used; `requests` None: what it asked for."""

    tokens: int
    cost: int
    requests: int | None
    at_us: int


class Baseline(msgspec.Struct, frozen=True):
    """What the ledger has of a scope: money since `Need.since`, requests ever, requests since the last UTC midnight."""

    spent_picousd: int = 0
    requests_total: int = 0
    requests_today: int = 0


class Need(msgspec.Struct, frozen=True):
    """A scope whose past is not known. `since` and `day` are Unix seconds; `since` 0: from the beginning."""

    kind: str
    id: str
    period: str
    time_zone: str
    since: int
    day: int

    def at(self, now: float) -> Need:
        """The same for the period and the day that `now` (Unix seconds) is in."""
        since = span_at(self.period, self.time_zone, now).start
        day = int(now) * SECOND_US // DAY_US * DAY_US // SECOND_US
        if since == self.since and day == self.day:
            return self
        return Need(self.kind, self.id, self.period, self.time_zone, since, day)


class Unknown(Exception):
    """Load a baseline for each of `needs`, then ask again.

    `timeout_s`: one that takes longer is to be loaded as nothing, because something known stands in for it.
    """

    def __init__(self, needs: list[Need], timeout_s: float | None = None) -> None:
        super().__init__(", ".join(f"{need.kind} {need.id}" for need in needs))
        self.needs, self.timeout_s = needs, timeout_s


class LimitStatus(NamedTuple):
    """Where a limit stands after a reservation, for the answer's headers."""

    limit: int
    remaining: int
    reset_s: float
    """Seconds until the whole limit is free again."""


class BudgetStatus(NamedTuple):
    """Where a budget stands, in picodollars. `reserved` is held by requests that have not ended."""

    budget: int
    spent: int
    reserved: int
    resets_at: float | None
    """Unix seconds; None: never."""

    @property
    def remaining(self) -> int:
        return max(0, self.budget - self.spent - self.reserved)


class CrossedThreshold(NamedTuple):
    """A budget's soft threshold was passed, in picodollars. Told by the settlement that passed it."""

    kind: str
    id: str
    budget: int
    spent: int
    period: str
    since: int


OnThreshold = Callable[[CrossedThreshold], None]


class LimitStatuses(NamedTuple):
    """Of requests a minute, tokens a minute and budgets, where the scope stands that has the least left."""

    requests: LimitStatus | None = None
    tokens: LimitStatus | None = None
    budget: BudgetStatus | None = None


Rate = tuple[int, int, float]
"""What a `LimitStatus` has, as it is made for every answer: several times as fast."""

Rates = tuple[Rate | None, Rate | None]
"""Of requests and tokens a minute, where the scope stands that has the least left; None: no limit."""


class Reservation(Protocol):
    """What was taken at admission."""

    @property
    def ask(self) -> Ask:
        """What was asked for."""

    @property
    def statuses(self) -> LimitStatuses:
        """Where the limits stand, without another question to anybody."""

    @property
    def rates(self) -> Rates:
        """The same of requests and tokens alone as of the reservation, for every answer's headers."""

    def settle(self, tokens: int = 0, cost: int | None = 0, requests: int | None = None) -> None:
        """Say what was really used, once, on every way out; a second time is harmless. Neither waits nor raises.

        `cost` None: unknown, nothing is charged. `requests` None: as many as were asked for; 0: it was free.
        """


class LimitsBackend(ABC):
    """Whoever decides about limits: this process alone (`memory.py`), or Redis for all of them (`fallback.py`).

    A reservation is one decision over all scopes: all of it, or nothing. What it returns must be settled on every way
    out.

    * `now` is Unix time in seconds when the decision is made, not when the request arrived.
    * `LimitExceeded`: no room. Nothing of anything was used up (P13).
    * `Unknown`: the backend has not seen these scopes lately (first sight, restart, Redis emptied, another period) and
      cannot say what was spent before. Load a `Baseline` for each of `needs` with `load`, then ask again. It changes
      nothing that is known already, so that two who load at once do no harm; and as long as a scope is unknown nothing
      is reserved on it, so that a baseline that was read a moment ago is still right when it is loaded.

    Limits come with each call and nothing is kept of them: a changed one counts at once. A limit that is set for the
    first time counts from then on; those that count further back (daily, max_requests, budget) ask for their baseline.
    """

    is_shared = False
    """Whether other processes decide together with this one."""

    @property
    def up(self) -> bool:
        """Whether it decides as it should; a shared one that cannot decides for this process alone."""
        return True

    @abstractmethod
    async def start(self) -> None:
        """Before the first question. Raises nothing: what is away is asked again."""

    @abstractmethod
    async def close(self) -> None:
        """After the last one."""

    def reserve_at_once(self, scopes: Scopes, ask: Ask, now: float) -> Reservation | None:
        """As `reserve`, where nobody has to be waited for; None: ask `reserve`."""
        return None

    @abstractmethod
    async def reserve(self, scopes: Scopes, ask: Ask, now: float) -> Reservation:
        """Raises `LimitExceeded` and `Unknown`; then nothing was taken."""

    @abstractmethod
    def load(self, need: Need, baseline: Baseline) -> None:
        """Set what was not known; what is known stays."""

    @abstractmethod
    def raise_to(self, need: Need, baseline: Baseline) -> bool:
        """Counters never stand below what the ledger has; they are never lowered by it.

        Returns whether this process counts for the scope by itself, so that only the ledger tells it of the others.
        """
