"""Several lanes that the same requests take from, as one lane: what they cost no longer grows with the limits.

What a request takes from one of these lanes it takes from all of them, so the least that any of them has is the room of
all, and one sum of each kind is true of all. That holds as long as nobody else has to do with one of them. Whoever has,
finds it without a free place, and takes the lanes apart first; they then stand as if each request had asked each lane.
"""

from __future__ import annotations

from collections.abc import Sequence

from keys.limits.lane import Lane

JOIN_AFTER = 256
"""Requests that take from the same lanes one by one before these are joined: so many that to join costs nothing."""


class Joint(Lane):
    """`members` are open and have room; they are not joined to others."""

    __slots__ = ("_free", "_money_at_first", "members")

    def __init__(self, members: Sequence[Lane]) -> None:
        super().__init__(members[0].state, max(lane.at for lane in members))
        self.members = members
        self.until = min(lane.until for lane in members)
        self.room = self.room_at_first = min(lane.room for lane in members)
        self.free = self.free_at_first = min(lane.free for lane in members)
        self.tokens = self.tokens_at_first = min(lane.tokens for lane in members)
        self.money = self._money_at_first = min(lane.money for lane in members)
        self.quiet = min(lane.quiet for lane in members)
        self.dearest = min(lane.dearest for lane in members)
        self.commits = max(lane.commits for lane in members)
        self.buckets = tuple(bucket for lane in members for bucket in lane.buckets)
        least = min(members, key=lambda lane: lane.room + lane.requests_beyond)
        self.requests, self.requests_beyond = least.requests, least.room + least.requests_beyond - self.room
        least = min(members, key=lambda lane: lane.tokens + lane.tokens_beyond)
        self.token_window, self.tokens_beyond = least.token_window, least.tokens + least.tokens_beyond - self.tokens
        self._free = [lane.free for lane in members]
        for lane in members:
            lane.joint = self
            lane.free = 0

    def close(self) -> None:
        """Take the lanes apart. A second time is harmless."""
        if self.is_closed:
            return
        self.is_closed = True
        self.until = 0
        taken, running = self.room_at_first - self.room, self.free_at_first - self.free
        tokens, money = self.tokens_at_first - self.tokens, self._money_at_first - self.money
        for lane, free in zip(self.members, self._free, strict=True):
            lane.joint = None
            lane.at = self.at
            lane.room -= taken
            lane.free = free - running
            lane.tokens -= tokens
            lane.money -= money
            lane.quiet -= self.spent
            lane.spent += self.spent
            lane.bounded += self.bounded
            lane.open += self.open
            lane.open_count += self.open_count
            lane.more_at = max(lane.more_at, self.more_at)
            lane.ended_at = max(lane.ended_at, self.ended_at)


def joined(lanes: Sequence[Lane]) -> Sequence[Lane]:
    """Where something is to end that was taken from these: in their joint by now, or in what was joined then."""
    first = lanes[0] if lanes else None
    if first is None:
        return lanes
    if isinstance(first, Joint):
        return first.members if first.is_closed else lanes
    joint = first.joint
    return (joint,) if joint is not None and joint.members is lanes else lanes


def parts_of(lane: Lane) -> Sequence[Lane]:
    """Its lanes, taken apart."""
    if not isinstance(lane, Joint):
        return (lane,)
    lane.close()
    return lane.members
