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

TASK = "sluice.task"
"""Where the server leaves a request's task in the scope. Python 3.11 takes long to say which one is running."""

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
    """A request and its answer. `started_at` is Unix time in seconds; the other times are monotonic.

    What no step has said yet is the class's own value, so that a new exchange costs no more than what is known of it.
    """

    # receive
    endpoint: Endpoint
    dialect: Dialect
    rest = ""
    """What follows `/v1` in the path, as it was written."""
    query = ""
    body: JSONBody | None = None
    passed_body: bytes | None = None
    """The whole body of a request that is passed on unread, where it was small enough to look at."""
    model = ""
    stream = False
    correlation_id = ""
    request_bytes = 0
    # authenticate, authorize
    key: KeyRecord | None = None
    project: ProjectRecord | None = None
    # admit, look up
    reservation: Reservation | None = None
    cache = ""
    # choose provider
    candidate: Candidate | None = None
    credential: CredentialRecord | None = None
    names_put_back = False
    """Whether the provider's name for the model differs from the client's."""
    # relay
    hides_usage = False
    attempts = 0
    sent_at: float | None = None
    first_byte_at: float | None = None
    upstream_done_at: float | None = None
    answer_started = False
    answer_ended = False
    status = 0
    response_bytes = 0
    response_id = ""
    usage: Usage | None = None
    # account
    outcome = ""
    error_code = ""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.started_at = time.time()
        self.t0 = time.monotonic()
        self.request_id = new_request_id(self.started_at)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: Headers = scope["headers"]
        self.header_map: dict[bytes, bytes] = dict(self.headers)
