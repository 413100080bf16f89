"""A call to a provider for one request, which others that ask the same may wait for and read.

In another process of the installation, the answer is that of `cache/remote_answer.py`, and the call stands for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cache.flight import Flight, FlightReader
from cache.remote_answer import Facts, Failure
from proxy.attempt import Attempt
from proxy.errors import UpstreamError
from proxy.wire.asgi import Headers

Key = tuple[str, bool, bool]
"""The digest of the request, whether a stream is wanted, and whether its usage is hidden from the client."""


class SharedCall:
    """It is in `calls` from its beginning until its answer has been handed on, or has turned out to be for one alone.

    `tries` is how many calls for the same requests failed before it.
    """

    def __init__(self, calls: dict[Key, SharedCall], key: Key, tries: int) -> None:
        self._calls, self._key = calls, key
        self.tries = tries
        self.attempt: Attempt | None = None
        """Who answers, once that is known."""
        self.flight: Flight | None = None
        self.release: Callable[[], object] | None = None
        """Lets other processes know that the call is over."""
        self.response_id = ""
        """The provider's id of the answer, once that is known."""
        self._failure: tuple[str, str, Headers] | None = None
        self._waiting: list[asyncio.Future[FlightReader | None]] = []
        calls[key] = self

    @property
    def is_needed(self) -> bool:
        """Whether another request waits for the answer, or reads it."""
        if self.flight is not None:
            return self.flight.is_shared
        return any(not waiting.done() for waiting in self._waiting)

    @property
    def is_over(self) -> bool:
        """Whether the end of the answer has come."""
        return self.flight is not None and self.flight.is_over

    def follow(self) -> asyncio.Future[FlightReader | None]:
        """Becomes the answer, as soon as its head has come; None if there is none to share."""
        waiting = asyncio.get_running_loop().create_future()
        if self.flight is None:
            self._waiting.append(waiting)
        else:
            waiting.set_result(self.flight.join())
        return waiting

    def open(self, flight: Flight, attempt: Attempt) -> None:
        """The head of an answer has come, and those who wait get theirs now: the first reader may be gone soon."""
        self.flight, self.attempt = flight, attempt
        self._tell()

    def fail(self, error: BaseException | None) -> None:
        """There is no answer to share. The next of those who wait asks, or all get the error."""
        self.close()
        if isinstance(error, UpstreamError):
            self._failure = error.code, error.message, error.headers
        self._tell()

    def failure(self) -> UpstreamError | None:
        """Why there is no answer. Each of those who waited gets an error of its own: it will refer to frames."""
        if self._failure is None:
            return None
        code, message, headers = self._failure
        return UpstreamError(code, message, headers=headers)

    def why(self) -> Failure | None:
        return None if self._failure is None else Failure(*self._failure, self.tries)

    def facts(self) -> Facts | None:
        """None also for an error of the provider: it may repeat the credential, which another process cannot hide."""
        flight, attempt = self.flight, self.attempt
        if flight is None or attempt is None or flight.status >= 400:
            return None
        credential = attempt.credential
        alias = "" if credential is None else credential.alias
        return Facts(flight.status, flight.kept_headers, attempt.provider.id, attempt.model, attempt.asked_usage, alias)

    def close(self) -> None:
        """Let nobody join any more."""
        if self._calls.get(self._key) is self:
            del self._calls[self._key]
        if self.release is not None:
            self.release()
            self.release = None

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None if self.flight is None else self.flight.join())
