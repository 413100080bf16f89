"""A fast path through one scope's counters, for a second at most.

To check seven counters, take from them and settle them one by one is most of what admission costs. Right after they
have accepted a request, it is known how much more they surely accept until the second that an entry of a window covers
is over, or an entry, a day or a period expires. A fast path is that room. A request that fits into the fast paths of
its scopes fits into their counters. The fast path adds up what it took and what ended. When it is closed, the sums go
to the counters: before anything else reads them, and with the same result as one by one.

Its room is never more than what the counters have, and may be less. A request that does not fit asks the counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from keys.limits.base import DAY_US, SECOND_US, Ask, CrossedThreshold, Rate, Rates, Used
from keys.limits.counters import Bucket, Budget, Counter, Daily, Lifetime, RequestWindow, Slots, TokenWindow
from keys.limits.counters.window import SHARED_US, WINDOW_US, Entry, Window

MINUTE_S = WINDOW_US / SECOND_US
PLENTY = 1 << 80
"""More than any limit, in any unit."""


class ScopeCounters(Protocol):
    """The state of a scope, as far as its fast path needs it."""

    counters: tuple[Counter, ...]

    @property
    def fast_path(self) -> FastPath | None: ...

    def close_fast_path(self) -> None: ...


class FastPath:
    """What a scope's counters surely accept.

    `room`: requests; `free`: requests at once; `tokens`; `money`: picodollars that may be committed; `quiet`:
    picodollars until the soft threshold. `at`: when something was taken last.
    """

    __slots__ = (
        *("at", "bounded", "buckets", "budget", "commits", "daily", "day", "dearest", "ended_at", "free"),
        *("free_at_first", "generation", "is_closed", "lifetime", "money", "more_at", "open", "open_count"),
        *("quiet", "request_entry"),
        *("requests", "requests_beyond", "room", "room_at_first", "slots", "spent", "state", "token_entry"),
        *("token_window", "tokens", "tokens_at_first", "tokens_beyond", "until"),
    )

    def __init__(self, state: ScopeCounters, now: int) -> None:
        self.state = state
        self.at = now
        self.until = now + SHARED_US
        self.room = self.free = self.tokens = self.quiet = self.dearest = PLENTY
        self.room_at_first = self.free_at_first = self.tokens_at_first = PLENTY
        self.money = PLENTY * PLENTY
        self.commits = 0
        """The least money that a request commits: the cost of the dearest one, if there is a budget."""
        self.requests_beyond = self.tokens_beyond = 0
        """What the windows have left beyond `room` and `tokens`."""
        self.requests: RequestWindow | None = None
        self.token_window: TokenWindow | None = None
        self.buckets: tuple[Bucket, ...] = ()
        self.slots: Slots | None = None
        self.daily: Daily | None = None
        self.lifetime: Lifetime | None = None
        self.budget: Budget | None = None
        self.request_entry: Entry
        self.token_entry: Entry
        self.day = self.generation = 0
        self.bounded = self.open = self.open_count = self.spent = 0
        self.ended_at = self.more_at = 0
        self.is_closed = False

    def has_room(self, ask: Ask, now: int) -> bool:
        return (
            self.at <= now < self.until
            and self.room > 0
            and self.free > 0
            and ask.requests == 1
            and ask.tokens <= self.tokens
            and (ask.cost or 0) <= self.money
        )

    def requests_left(self, now: int) -> Rate:
        """Where the window of requests stands. The fast path must have one."""
        assert self.requests is not None
        return self.requests.rate(self.room + self.requests_beyond, self.at, now)

    def tokens_left(self, now: int) -> Rate:
        """Where the window of tokens stands. The fast path must have one."""
        assert self.token_window is not None
        return self.token_window.rate(self.tokens + self.tokens_beyond, self.at, now)

    def bears(self, used: Used, ask: Ask) -> bool:
        """Whether a request that was not taken here may be settled in the counters while this fast path is open."""
        return (
            used.at_us < self.until
            and used.cost <= self.quiet
            and (ask.bounded or used.cost <= self.dearest)
            and (used.requests is None or used.requests == ask.requests)
        )

    def ended_elsewhere(self, used: Used, ask: Ask) -> None:
        """Reduce the room by such a settlement. What it gave back is left to the next fast path."""
        more = used.tokens - ask.tokens
        if more > 0:
            self.tokens -= more
            self.tokens_at_first -= more
        if self.token_window is not None:
            self.tokens_beyond = self.token_window.limit - self.token_window.total - self.tokens_at_first
        self.money -= used.cost
        self.quiet -= used.cost

    def settle_late(self, used: Used, ask: Ask, reserved_at: int) -> CrossedThreshold | None:
        """Settle in the counters a request that was taken here, after this fast path was closed."""
        if self.token_window is not None:
            self.token_window.settle((self.token_entry, ask.tokens), used)
        if self.slots is not None:
            self.slots.settle(True, used)
        if used.requests is not None and used.requests != 1:
            if self.daily is not None:
                self.daily.settle((self.day, 1), used)
            if self.lifetime is not None:
                self.lifetime.settle(1, used)
        if self.budget is not None:
            return self.budget.settle((self.generation, reserved_at, ask.cost or 0, ask.bounded), used)
        return None

    def close(self) -> None:
        """Add the sums to the counters. A second call does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        self.until = 0
        at, request_count, running = self.at, self.room_at_first - self.room, self.free_at_first - self.free
        if self.requests is not None:
            add(self.requests, self.request_entry, request_count, at)
        if self.token_window is not None:
            add(self.token_window, self.token_entry, self.tokens_at_first - self.tokens, max(at, self.more_at))
            self.token_window.running += running
        if self.slots is not None:
            self.slots.running += running
        if self.daily is not None:
            self.daily.used += request_count
            self.daily.touched = max(self.daily.touched, at)
        if self.lifetime is not None:
            self.lifetime.used += request_count
            self.lifetime.touched = max(self.lifetime.touched, at)
        budget = self.budget
        if budget is not None:
            budget.running += running
            budget.bounded += self.bounded
            budget.open += self.open
            budget.open_count += self.open_count
            budget.spent += self.spent
            budget.touched = max(budget.touched, at, self.ended_at)


def add(window: Window, entry: Entry, amount: int, at: int) -> None:
    window.total += amount
    entry.amount += amount
    entry.last = max(entry.last, at)


def take(fast_paths: Sequence[FastPath], ask: Ask, now: int) -> Rates:
    """Take a request from fast paths that have room for it. Returns where requests and tokens a minute stand."""
    tokens, cost, bounded = ask.tokens, ask.cost or 0, ask.bounded
    least_requests = least_tokens = PLENTY
    of_requests = of_tokens = None
    for fast_path in fast_paths:
        fast_path.at = now
        fast_path.room = left = fast_path.room - 1
        left += fast_path.requests_beyond
        if left < least_requests:
            least_requests, of_requests = left, fast_path
        fast_path.tokens = left = fast_path.tokens - tokens
        left += fast_path.tokens_beyond
        if left < least_tokens:
            least_tokens, of_tokens = left, fast_path
        fast_path.free -= 1
        fast_path.money -= cost if cost > fast_path.commits else fast_path.commits
        if bounded:
            fast_path.bounded += cost
        else:
            fast_path.open += cost
            fast_path.open_count += 1
        for bucket in fast_path.buckets:
            level = bucket.level - (now - bucket.at) * bucket.rate
            bucket.level = level + SECOND_US if level > 0 else SECOND_US
            bucket.at = now
    # `Window.rate` is written out here, because every answer needs it. The last request was just now, so reset is a
    # minute.
    requests = None if of_requests is None else of_requests.requests
    window = None if of_tokens is None else of_tokens.token_window
    return (
        None if requests is None else (requests.limit, least_requests if least_requests > 0 else 0, MINUTE_S),
        None if window is None else (window.limit, least_tokens if least_tokens > 0 else 0, MINUTE_S),
    )


def open_fast_path(state: ScopeCounters, now: int) -> FastPath | None:
    """Open one for counters that took a request at `now`. None if there is no room, or the clock was set back."""
    fast_path = FastPath(state, now)
    for counter in state.counters:
        if isinstance(counter, Window):
            first, newest = counter.entries[0], counter.entries[-1]
            if newest.last > now:
                return None
            fast_path.until = min(fast_path.until, newest.first + SHARED_US, first.last + WINDOW_US)
            left = counter.limit - counter.total
            if isinstance(counter, RequestWindow):
                fast_path.requests, fast_path.request_entry, fast_path.room = counter, newest, min(fast_path.room, left)
            elif isinstance(counter, TokenWindow):
                fast_path.token_window, fast_path.token_entry, fast_path.tokens = counter, newest, left
            else:
                return None
        elif isinstance(counter, Bucket):
            # The level also sinks meanwhile. This is left aside, so the room is never too large.
            fast_path.buckets = (counter,)
            fast_path.room = min(fast_path.room, (counter.burst * SECOND_US - counter.level) // SECOND_US)
        elif isinstance(counter, Slots):
            fast_path.slots, fast_path.free = counter, counter.limit - counter.running
        elif isinstance(counter, Daily):
            fast_path.daily, fast_path.day = counter, counter.day
            fast_path.room = min(fast_path.room, counter.limit - counter.used)
            fast_path.until = min(fast_path.until, (counter.day + 1) * DAY_US)
        elif isinstance(counter, Lifetime):
            fast_path.lifetime, fast_path.room = counter, min(fast_path.room, counter.limit - counter.used)
        elif isinstance(counter, Budget):
            fast_path.budget, fast_path.generation, fast_path.dearest = counter, counter.generation, counter.dearest
            fast_path.commits = counter.dearest
            # One less: a budget that is exactly reached admits nothing more.
            fast_path.money = counter.limit - counter.spent - counter.reserved - 1
            fast_path.quiet = counter.threshold - counter.spent - 1 if counter.spent < counter.threshold else PLENTY
            fast_path.until = min(fast_path.until, counter.end)
        else:
            return None  # how much more another kind accepts is not known here
    if fast_path.until <= now or fast_path.room <= 0 or fast_path.free <= 0:
        return None
    fast_path.room_at_first, fast_path.free_at_first, fast_path.tokens_at_first = (
        fast_path.room,
        fast_path.free,
        fast_path.tokens,
    )
    requests = fast_path.requests
    fast_path.requests_beyond = PLENTY if requests is None else requests.limit - requests.total - fast_path.room
    fast_path.tokens_beyond = PLENTY if fast_path.token_window is None else 0
    return fast_path
