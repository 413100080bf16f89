"""The contract of admission: `LimitsBackend`, its arguments and its results."""

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

    `requests`: how many requests `daily` and `max_requests` count: 1, n for a batch, 0 for a free request. rpm, rps and
    parallel count every request as one. `tokens`: the estimated prompt and the requested output. `cost`: an estimate in
    picodollars; None: the price is unknown. `bounded`: the request cannot cost more than `cost`, because it names its
    largest output. If it is not bounded, `cost` should be estimated with the model's largest output: until the first
    such request has been settled, only this estimate holds back other requests that run at the same time.
    """

    requests: int = 1
    tokens: int = 0
    cost: int | None = 0
    bounded: bool = False


class Used(NamedTuple):
    """What a request has really used. `requests` None: as many as it asked for."""

    tokens: int
    cost: int
    requests: int | None
    at_us: int


class Baseline(msgspec.Struct, frozen=True):
    """A scope's usage in the ledger: money since `Need.since`, requests ever, and requests of this UTC day."""

    spent_picousd: int = 0
    requests_total: int = 0
    requests_today: int = 0


class Need(msgspec.Struct, frozen=True):
    """A scope that needs a baseline. `since` and `day` are Unix seconds; `since` 0: from the beginning."""

    kind: str
    id: str
    period: str
    time_zone: str
    since: int
    day: int

    def at(self, now: float) -> Need:
        """This need for the period and the UTC day that contain `now` (Unix seconds)."""
        since = span_at(self.period, self.time_zone, now).start
        day = int(now) * SECOND_US // DAY_US * DAY_US // SECOND_US
        if since == self.since and day == self.day:
            return self
        return Need(self.kind, self.id, self.period, self.time_zone, since, day)


class Unknown(Exception):
    """The backend needs a baseline for each of `needs`. Load them, then reserve again.

    `timeout_s`: load an empty baseline if the ledger takes longer, because an earlier number stands in for it.
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
    """A settlement took a budget past its soft threshold. Money is in picodollars, `since` in Unix seconds."""

    kind: str
    id: str
    budget: int
    spent: int
    period: str
    since: int


OnThreshold = Callable[[CrossedThreshold], None]


class LimitStatuses(NamedTuple):
    """For requests a minute, tokens a minute and budgets: the status of the scope that has the least left."""

    requests: LimitStatus | None = None
    tokens: LimitStatus | None = None
    budget: BudgetStatus | None = None


Rate = tuple[int, int, float]
"""The fields of a `LimitStatus` as a plain tuple: every answer needs one, and a tuple is made several times as fast."""

Rates = tuple[Rate | None, Rate | None]
"""For requests and tokens a minute: the status of the scope that has the least left; None: no limit."""


class Reservation(Protocol):
    """What was taken at admission."""

    @property
    def ask(self) -> Ask:
        """What was asked for."""

    @property
    def statuses(self) -> LimitStatuses:
        """Where the limits stand. This needs no call to Redis."""

    @property
    def rates(self) -> Rates:
        """The status of requests and tokens a minute at the reservation, for the headers of every answer."""

    def settle(self, tokens: int = 0, cost: int | None = 0, requests: int | None = None) -> None:
        """Replace the reservation by what was really used. Neither waits nor raises.

        Call it once on every way out; a second call does nothing. `cost` None: unknown, so nothing is charged.
        `requests` None: as many as were asked for; 0: the request was free.
        """


class LimitsBackend(ABC):
    """Decides about limits: for this process alone (`memory.py`), or for all processes through Redis (`fallback.py`).

    A reservation is one decision over all scopes: it takes every amount, or nothing. It must be settled on every way
    out.

    * `now` is the Unix time in seconds of the decision, not of the request's arrival.
    * `LimitExceeded`: there is no room. Nothing was taken from any limit (P13).
    * `Unknown`: the backend has no recent state of these scopes (first request, restart, Redis emptied, another
      period), so it does not know what they had used. Load a `Baseline` for each of `needs` with `load`, then reserve
      again. `load` never changes a known value, so two callers may load at the same time. Nothing is reserved on a
      scope while it is unknown, so a baseline that was just read is still right when it is loaded.

    Limits come with each call and are not kept, so a changed limit applies at once. A limit that is set for the first
    time counts from then on. Those that count further back (daily, max_requests, budget) ask for their baseline.
    """

    is_shared = False
    """Whether this backend decides for several processes together."""

    @property
    def up(self) -> bool:
        """Whether it works normally. A shared backend that is down decides for this process alone."""
        return True

    @abstractmethod
    async def start(self) -> None:
        """Call it before the first reservation. Raises nothing: a Redis that is away is tried again later."""

    @abstractmethod
    async def close(self) -> None:
        """Call it after the last reservation."""

    def reserve_at_once(self, scopes: Scopes, ask: Ask, now: float) -> Reservation | None:
        """Reserve without waiting, as `reserve` does. None: this backend has to wait, so call `reserve`."""
        return None

    @abstractmethod
    async def reserve(self, scopes: Scopes, ask: Ask, now: float) -> Reservation:
        """Raises `LimitExceeded` and `Unknown`; then nothing was taken."""

    @abstractmethod
    def load(self, need: Need, baseline: Baseline) -> None:
        """Set the counters that have no baseline yet; the others stay as they are."""

    @abstractmethod
    def raise_to(self, need: Need, baseline: Baseline) -> bool:
        """Raise counters that are below the ledger's number. The ledger never lowers them.

        Returns whether this process counts for the scope alone, so that only the ledger knows of other processes.
        """
