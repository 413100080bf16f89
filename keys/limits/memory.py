"""Limits counted by this process alone."""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import islice
from math import inf

from keys.limits.base import LimitExceeded, Standing

WINDOW_S = 60.0
LOOKED_AT = 2
"""Scopes looked at for each new one: more than one, so that the idle ones cannot pile up."""


class RequestsPerMinute:
    """At most `limit` requests in any 60 seconds, not only in those of the wall clock.

    It keeps the times of the accepted requests of the last minute. A refused request leaves no trace.
    """

    name = "requests per minute"

    def __init__(self) -> None:
        self._accepted: OrderedDict[int, deque[float]] = OrderedDict()

    def reserve(self, scope_id: int, scope: str, limit: int, now: float) -> Standing:
        """Take one request. `now` is monotonic, in seconds. Raises `LimitExceeded`."""
        accepted = self._accepted.get(scope_id)
        if accepted is None:
            accepted = self._accepted[scope_id] = deque()
            self._forget_idle(now)
        while accepted and accepted[0] <= now - WINDOW_S:
            accepted.popleft()
        taken = len(accepted)
        if taken >= limit:
            # Where the limit was lowered, more than one has to run out before the next is accepted.
            free_at = accepted[taken - limit] + WINDOW_S if limit else inf
            standing = Standing(limit, 0, accepted[-1] + WINDOW_S - now if accepted else inf)
            raise LimitExceeded(self.name, scope, standing, free_at - now)
        accepted.append(now)
        return Standing(limit, limit - taken - 1, WINDOW_S)

    def _forget_idle(self, now: float) -> None:
        """Drop what has been idle for a minute, oldest first, so that a million keys do not pile up."""
        for scope_id in list(islice(self._accepted, LOOKED_AT)):
            accepted = self._accepted[scope_id]
            if not accepted:
                continue
            if accepted[-1] <= now - WINDOW_S:
                del self._accepted[scope_id]
            else:
                self._accepted.move_to_end(scope_id)
