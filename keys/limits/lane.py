"""The short way through one scope's counters, for a second at most.

Seven counters that are asked, told to take and told to settle one by one are most of what admission costs. Right after
they have taken a request, it is plain how much more they would take in any case: until the second that entries of a
window share is over, or an entry, a day or a period runs out. A lane is that room. A request that fits into the lanes
of its scopes fits into their counters; the lane notes what it took, and what ended, in a few sums, and the counters are
told the sums when the lane is closed: before anything else looks at them, and with the same result as one by one.

A lane's room is never more than what the counters have, and may be less; who does not fit asks the counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keys.limits.base import DAY_US, SECOND_US, Ask, CrossedThreshold, Rate, Rates, Used
from keys.limits.counters import Bucket, Budget, Daily, Lifetime, RequestWindow, Slots, TokenWindow
from keys.limits.counters.window import SHARED_US, WINDOW_US, Entry, Window

if TYPE_CHECKING:
    from keys.limits.joint import Joint
    from keys.limits.state import ScopeState

MINUTE_S = WINDOW_US / SECOND_US
PLENTY = 1 << 80
"""More than any limit, in any unit."""


class Lane:
    """`room` for requests, `free` for requests at once, `tokens`; `money` that may be committed, `quiet` until the
    soft threshold, both in picodollars. `at`: when it took something last.
    """

    __slots__ = (
        *("at", "bounded", "buckets", "budget", "commits", "daily", "day", "dearest", "ended_at", "free"),
        *("free_at_first", "generation", "is_closed", "joint", "lifetime", "money", "more_at", "open", "open_count"),
        *("quiet", "request_entry"),
        *("requests", "requests_beyond", "room", "room_at_first", "slots", "spent", "state", "token_entry"),
        *("token_window", "tokens", "tokens_at_first", "tokens_beyond", "until"),
    )

    def __init__(self, state: ScopeState, now: int) -> None:
        self.state = state
        self.at = now
        self.until = now + SHARED_US
        self.room = self.free = self.tokens = self.quiet = self.dearest = PLENTY
        self.room_at_first = self.free_at_first = self.tokens_at_first = PLENTY
        self.money = PLENTY * PLENTY
        self.commits = 0
        """Of money, at least, by each request: as much as the dearest where there is a budget."""
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
        self.joint: Joint | None = None

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
        """For a lane that has a window of them."""
        assert self.requests is not None
        return self.requests.rate(self.room + self.requests_beyond, self.at, now)

    def tokens_left(self, now: int) -> Rate:
        """For a lane that has a window of them."""
        assert self.token_window is not None
        return self.token_window.rate(self.tokens + self.tokens_beyond, self.at, now)

    def bears(self, used: Used, ask: Ask) -> bool:
        """Whether a request that was taken elsewhere may end in the counters while this lane is open."""
        return (
            used.at_us < self.until
            and used.cost <= self.quiet
            and (ask.bounded or used.cost <= self.dearest)
            and (used.requests is None or used.requests == ask.requests)
        )

    def ended_elsewhere(self, used: Used, ask: Ask) -> None:
        """It did; so there is less room here. What it gave back is left to the next lane."""
        more = used.tokens - ask.tokens
        if more > 0:
            self.tokens -= more
            self.tokens_at_first -= more
        if self.token_window is not None:
            self.tokens_beyond = self.token_window.limit - self.token_window.total - self.tokens_at_first
        self.money -= used.cost
        self.quiet -= used.cost

    def settle_late(self, used: Used, ask: Ask, taken_at: int) -> CrossedThreshold | None:
        """What was taken in this lane, which is closed."""
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
            return self.budget.settle((self.generation, taken_at, ask.cost or 0, ask.bounded), used)
        return None

    def close(self) -> None:
        """Tell the counters. A second time is harmless."""
        if self.joint is not None:
            self.joint.close()
        if self.is_closed:
            return
        self.is_closed = True
        self.until = 0
        at, taken, running = self.at, self.room_at_first - self.room, self.free_at_first - self.free
        if self.requests is not None:
            add(self.requests, self.request_entry, taken, at)
        if self.token_window is not None:
            add(self.token_window, self.token_entry, self.tokens_at_first - self.tokens, max(at, self.more_at))
            self.token_window.running += running
        if self.slots is not None:
            self.slots.running += running
        if self.daily is not None:
            self.daily.used += taken
            self.daily.touched = max(self.daily.touched, at)
        if self.lifetime is not None:
            self.lifetime.used += taken
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


def take(lanes: Sequence[Lane], ask: Ask, now: int) -> Rates:
    """Of lanes that have the room."""
    tokens, cost, bounded = ask.tokens, ask.cost or 0, ask.bounded
    least_requests = least_tokens = PLENTY
    of_requests = of_tokens = None
    for lane in lanes:
        lane.at = now
        lane.room = left = lane.room - 1
        left += lane.requests_beyond
        if left < least_requests:
            least_requests, of_requests = left, lane
        lane.tokens = left = lane.tokens - tokens
        left += lane.tokens_beyond
        if left < least_tokens:
            least_tokens, of_tokens = left, lane
        lane.free -= 1
        lane.money -= cost if cost > lane.commits else lane.commits
        if bounded:
            lane.bounded += cost
        else:
            lane.open += cost
            lane.open_count += 1
        for bucket in lane.buckets:
            level = bucket.level - (now - bucket.at) * bucket.rate
            bucket.level = level + SECOND_US if level > 0 else SECOND_US
            bucket.at = now
    # Written out rather than asked of the windows: it is told with every answer, and in a lane the last was just now.
    requests = None if of_requests is None else of_requests.requests
    window = None if of_tokens is None else of_tokens.token_window
    return (
        None if requests is None else (requests.limit, least_requests if least_requests > 0 else 0, MINUTE_S),
        None if window is None else (window.limit, least_tokens if least_tokens > 0 else 0, MINUTE_S),
    )


def open_lane(state: ScopeState, now: int) -> Lane | None:
    """For counters that have taken a request at `now`. None where there is no room, or the clock was set back."""
    lane = Lane(state, now)
    for counter in state.counters:
        if isinstance(counter, Window):
            first, newest = counter.entries[0], counter.entries[-1]
            if newest.last > now:
                return None
            lane.until = min(lane.until, newest.first + SHARED_US, first.last + WINDOW_US)
            left = counter.limit - counter.total
            if isinstance(counter, RequestWindow):
                lane.requests, lane.request_entry, lane.room = counter, newest, min(lane.room, left)
            elif isinstance(counter, TokenWindow):
                lane.token_window, lane.token_entry, lane.tokens = counter, newest, left
        elif isinstance(counter, Bucket):
            # As if nothing ran out meanwhile.
            lane.buckets = (counter,)
            lane.room = min(lane.room, (counter.burst * SECOND_US - counter.level) // SECOND_US)
        elif isinstance(counter, Slots):
            lane.slots, lane.free = counter, counter.limit - counter.running
        elif isinstance(counter, Daily):
            lane.daily, lane.day = counter, counter.day
            lane.room = min(lane.room, counter.limit - counter.used)
            lane.until = min(lane.until, (counter.day + 1) * DAY_US)
        elif isinstance(counter, Lifetime):
            lane.lifetime, lane.room = counter, min(lane.room, counter.limit - counter.used)
        elif isinstance(counter, Budget):
            lane.budget, lane.generation, lane.dearest = counter, counter.generation, counter.dearest
            lane.commits = counter.dearest
            # One less: a budget that is exactly reached takes nothing more.
            lane.money = counter.limit - counter.spent - counter.reserved - 1
            lane.quiet = counter.threshold - counter.spent - 1 if counter.spent < counter.threshold else PLENTY
            lane.until = min(lane.until, counter.end)
        else:
            return None  # nobody here knows how much more it would take
    if lane.until <= now or lane.room <= 0 or lane.free <= 0:
        return None
    lane.room_at_first, lane.free_at_first, lane.tokens_at_first = lane.room, lane.free, lane.tokens
    requests = lane.requests
    lane.requests_beyond = PLENTY if requests is None else requests.limit - requests.total - lane.room
    lane.tokens_beyond = PLENTY if lane.token_window is None else 0
    return lane
