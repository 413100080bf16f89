"""The interface between the steps fetch and hand on."""

from __future__ import annotations

from typing import Protocol

from proxy.wire.asgi import Headers


class Answer(Protocol):
    """An answer whose head has come, from any source: a connection to a provider, the simulator in this process, or an
    answer that wraps another. The caller that gets it reads it to its end or calls `abort`.
    """

    status: int
    headers: Headers

    async def comes_by(self, deadline: float) -> bool:
        """Wait for more of the body, its end or its failure, until `deadline` at the latest, in the event loop's time.

        Returns whether any of these came.
        """

    async def read(self) -> bytes:
        """The next part of the body, or b"" at its end. Raises `ConnectionFailed` or `ConnectionResetError`."""

    def put_back(self, data: bytes) -> None:
        """Let the next `read` return this data, which was read, again. Not allowed after the end was read."""

    def rest(self) -> bytes | None:
        """The rest of the body, if all of it has come; else None, and nothing is read."""

    def abort(self) -> None:
        """End the use of the answer, whether it was read to its end or not. May be called twice."""
