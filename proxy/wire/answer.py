"""What stands between asking a provider and handing on to the client."""

from __future__ import annotations

from typing import Protocol

from proxy.wire.asgi import Headers


class Answer(Protocol):
    """An answer whose head has come, whoever gives it: a connection to a provider, the simulator in this process, or
    one that wraps another. Whoever takes it reads it to its end or calls `abort`.
    """

    status: int
    headers: Headers

    async def comes_by(self, deadline: float) -> bool:
        """Wait for more of the body, or its end, or its failure, no longer than until then, in the loop's time."""

    async def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises `ConnectionFailed` or `ConnectionResetError`."""

    def put_back(self, data: bytes) -> None:
        """What was read comes again with the next read; not after the end was read."""

    def rest(self) -> bytes | None:
        """All that is left of the body, where all of it has come; else None, and nothing is taken."""

    def abort(self) -> None:
        """Done with it, read to its end or not; harmless when done twice."""
