"""Requests and tokens in any 60 seconds.

Amounts that are accepted within a second share one entry, which expires 60 s after the *last* of them. So the sum of
the entries is never less than what was accepted in the last 60 s: no window, wherever it begins, holds more than the
limit. In return, amounts become free up to a second late. Entries begin at least a second apart, so there are at most
62, however high the limit. If requests come more than a second apart, the window is exact.
"""

from __future__ import annotations

from collections import deque
from math import inf

from keys.limits.base import SECOND_US, Ask, LimitStatus, Rate, Used
from keys.limits.counters.base import Counter
from keys.limits.refusal import Refusal
from keys.limits.scope import Scope

WINDOW_US = 60 * SECOND_US
SHARED_US = SECOND_US


class Entry:
    __slots__ = ("amount", "first", "last")

    def __init__(self, first: int, amount: int) -> None:
        self.first = self.last = first
        self.amount = amount


class Window(Counter):
    """At most `limit` of something in any 60 seconds."""

    __slots__ = ("entries", "limit", "total")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.total = 0
        self.limit = 0

    def _check(self, amount: int, now: int) -> Refusal | None:
        self._expire(now)
        excess = self.total + amount - self.limit
        if excess <= 0:
            return None
        if amount > self.limit:
            return Refusal(self.limit_kind, self.limit, self.total, amount, "never", 0)
        for entry in self.entries:
            excess -= entry.amount
            if excess <= 0:
                wait = entry.last + WINDOW_US - now
                return Refusal(self.limit_kind, self.limit, self.total, amount, "time", wait)
        raise AssertionError("the entries add up to the total")

    def _take(self, amount: int, now: int) -> Entry:
        entries = self.entries
        self.total += amount
        if entries:
            newest = entries[-1]
            if now - newest.first < SHARED_US:
                newest.amount += amount
                newest.last = max(newest.last, now)
                return newest
        entry = Entry(now, amount)
        entries.append(entry)
        return entry

    def _expire(self, now: int) -> None:
        entries = self.entries
        if not entries:
            return
        if entries[-1].last > now + WINDOW_US:
            # The clock was set back by more than a window. The entries would block requests for as long, so they are
            # dropped. If it was set back by less, the window works as if time stood still meanwhile.
            self._drop_all()
        gone = now - WINDOW_US
        while entries and entries[0].last <= gone:
            entry = entries.popleft()
            self.total -= entry.amount
            entry.amount = 0  # so that a late settlement gives nothing back

    def _drop_all(self) -> None:
        for entry in self.entries:
            entry.amount = 0
        self.entries.clear()
        self.total = 0

    def idle(self, now: int) -> bool:
        self._expire(now)
        return not self.entries

    def status(self, now: int) -> LimitStatus:
        return LimitStatus(*self.rate(self.limit - self.total, 0, now))

    def rate(self, left: int, last: int, now: int) -> Rate:
        """The status if `left` is left.

        The last amount was taken at `last`, or in the newest entry if that is later.
        """
        if self.limit <= 0:
            return self.limit, 0, inf
        if self.entries and self.entries[-1].last > last:
            last = self.entries[-1].last
        reset = last + WINDOW_US - now
        return self.limit, left if left > 0 else 0, reset / SECOND_US if reset > 0 else 0.0


class RequestWindow(Window):
    """Requests per minute. The end of a request gives nothing back."""

    __slots__ = ()
    limit_kind = "rpm"

    def set(self, scope: Scope) -> None:
        self.limit = scope.limits.rpm or 0

    def check(self, ask: Ask, now: int) -> Refusal | None:
        return self._check(1, now)

    def take(self, ask: Ask, now: int) -> None:
        self._take(1, now)


class TokenWindow(Window):
    """Tokens per minute: the estimate is taken, the real number settled (P15).

    An estimate that was too high is given back to its entry, unless that has expired. If it was too low, the rest
    counts from the moment when it is known: in the old entry it might never count.
    """

    __slots__ = ("running",)
    limit_kind = "tpm"

    def __init__(self) -> None:
        super().__init__()
        self.running = 0

    def set(self, scope: Scope) -> None:
        self.limit = scope.limits.tpm or 0

    def check(self, ask: Ask, now: int) -> Refusal | None:
        return self._check(ask.tokens, now)

    def take(self, ask: Ask, now: int) -> tuple[Entry, int] | None:
        self.running += 1
        return self._take(ask.tokens, now), ask.tokens

    def idle(self, now: int) -> bool:
        return not self.running and super().idle(now)

    def settle(self, mark: tuple[Entry, int], used: Used) -> None:
        self.running -= 1
        entry, amount = mark
        more = used.tokens - amount
        if more > 0:
            self._expire(used.at_us)
            self._take(more, used.at_us)
        elif more < 0:
            back = min(-more, entry.amount)
            entry.amount -= back
            self.total -= back
