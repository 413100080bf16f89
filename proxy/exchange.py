"""One request on its way: what is known of it so far. Each step fills in its part and reads those before it."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keys.limits import Reservation
    from keys.records import KeyRecord, ProjectRecord
    from providers.catalog import Candidate, CredentialRecord
    from proxy.dialects.base import Dialect, Usage
    from proxy.endpoints import Endpoint
    from proxy.jsonbody import JSONBody

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_serial = count(1)
_process = os.urandom(5).hex()


def _new_process() -> None:
    global _process
    _process = os.urandom(5).hex()


os.register_at_fork(after_in_child=_new_process)


def new_request_id(now: float) -> str:
    """Unique and in order of time: milliseconds, then a random mark of the process, then a serial number."""
    return f"req_{int(now * 1000):012x}{_process}{next(_serial):08x}"


class Exchange:
    """A request and its answer. Times in seconds: `started_at` is Unix time, the others are monotonic."""

    __slots__ = (
        "answer_ended",
        "answer_started",
        "attempts",
        "body",
        "cache",
        "candidate",
        "client_ip",
        "correlation_id",
        "credential",
        "dialect",
        "endpoint",
        "error_code",
        "error_detail",
        "first_byte_at",
        "header_map",
        "headers",
        "hides_usage",
        "key",
        "method",
        "model",
        "outcome",
        "passed_body",
        "path",
        "project",
        "query",
        "receive",
        "request_bytes",
        "request_id",
        "reservation",
        "response_bytes",
        "response_id",
        "rest",
        "scope",
        "send",
        "sent_at",
        "started_at",
        "status",
        "stream",
        "t0",
        "upstream_done_at",
        "usage",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.started_at = time.time()
        self.t0 = time.monotonic()
        self.request_id = new_request_id(self.started_at)
        # receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: Headers = scope["headers"]
        self.header_map: dict[bytes, bytes] = dict(self.headers)
        self.endpoint: Endpoint
        self.rest = ""
        self.query = ""
        self.body: JSONBody | None = None
        self.passed_body: bytes | None = None
        self.model = ""
        self.stream = False
        self.correlation_id = ""
        client = scope.get("client")
        self.client_ip: str | None = client[0] if client else None
        self.request_bytes = 0
        # authenticate, authorize
        self.key: KeyRecord | None = None
        self.project: ProjectRecord | None = None
        # admit, look up
        self.reservation: Reservation | None = None
        self.cache = ""
        # choose provider
        self.candidate: Candidate | None = None
        self.credential: CredentialRecord | None = None
        # relay
        self.dialect: Dialect
        self.hides_usage = False
        self.attempts = 0
        self.sent_at: float | None = None
        self.first_byte_at: float | None = None
        self.upstream_done_at: float | None = None
        self.answer_started = False
        self.answer_ended = False
        self.status = 0
        self.response_bytes = 0
        self.response_id = ""
        self.usage: Usage | None = None
        # account
        self.outcome = ""
        self.error_code = ""
        self.error_detail = ""

    @property
    def names_put_back(self) -> bool:
        """Whether the provider's name for the model differs from the client's."""
        return self.candidate is not None and bool(self.model) and self.candidate.model != self.model
