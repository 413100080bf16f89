"""Bounds how many bytes of request bodies this process holds at one time."""

from __future__ import annotations

from proxy.errors import Unavailable


class BodyRoom:
    """Room is taken while a body is read, and given back when its request ends.

    A compressed body takes as much as the larger of its compressed and its unpacked size, and the decoder's window.
    """

    __slots__ = ("most_bytes", "reserved_bytes")

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.reserved_bytes = 0

    def take(self, size: int) -> None:
        """Raises `Unavailable`; then nothing was taken."""
        if self.reserved_bytes + size > self.most_bytes:
            raise Unavailable(
                "too_many_bodies",
                f"The requests under way hold {self.reserved_bytes:,} of {self.most_bytes:,} bytes that there is "
                "room for. Try again shortly.",
                headers=[(b"retry-after", b"1")],
            )
        self.reserved_bytes += size

    def give_back(self, size: int) -> None:
        self.reserved_bytes -= size
