"""One request on its way: what is known of it so far. Each step fills in its part and reads those before it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from proxy.server.head import Head, read_head
from proxy.wire.asgi import CALL, Receive, Scope, Send

if TYPE_CHECKING:
    from keys.limits import Reservation
    from keys.records import KeyRecord, ProjectRecord
    from proxy.attempt import Attempt
    from proxy.body_room import BodyRoom
    from proxy.capture import Capture
    from proxy.dialects.base import Dialect, Usage
    from proxy.endpoints import Endpoint
    from proxy.server.call import Call
    from proxy.wire.form_model import ModelField
    from proxy.wire.jsonbody import JSONBody
    from usage.prices.price import Units
    from usage.telemetry.traces import Span

FORM = b"multipart/form-data"

_serial = count(1)
_process = os.urandom(5).hex()
_latest_ms = 0


def _new_process() -> None:
    global _process
    _process = os.urandom(5).hex()


os.register_at_fork(after_in_child=_new_process)


def new_request_id(now: float) -> str:
    """Unique and in order of time: milliseconds, then a random mark of the process, then a serial number.

    Where the clock is set back, the process's last time stands until it is reached again, so each id is behind the one
    before it.
    """
    global _latest_ms
    ms = int(now * 1000)
    if ms > _latest_ms:
        _latest_ms = ms
    return f"req_{_latest_ms:012x}{_process}{next(_serial):08x}"


@dataclass(slots=True, eq=False, repr=False)
class Exchange:
    """A request and its answer. `started_at` is Unix time in seconds; the other times are monotonic."""

    scope: Scope
    receive: Receive
    send: Send
    started_at: float = field(init=False)
    t0: float = field(init=False)
    request_id: str = field(init=False)
    method: str = field(init=False)
    path: str = field(init=False)
    call: Call | None = field(init=False)
    # receive
    head: Head = field(init=False)
    length: bytes | None = field(init=False)
    """The declared length of the body."""
    endpoint: Endpoint = field(init=False)
    dialect: Dialect = field(init=False)
    rest: str = ""
    """What follows `/v1` in the path, as it was written."""
    query: str = ""
    body: JSONBody | None = None
    passed_body: bytes | None = None
    """The whole body of a request that is passed on unread, where it was small enough to look at."""
    deployment: str = ""
    """The model that the path names, as Azure's programs have it; it goes before what the body says."""
    unpacks: bool = False
    """The body came packed and goes up plain."""
    upload: AsyncIterator[bytes] | None = None
    """The pieces of a form whose beginning was read, from its beginning on."""
    is_metered_form: bool = False
    """So it may name no other model further back."""
    model_field: ModelField | None = None
    """Where in it the model stands."""
    model: str = ""
    stream: bool = False
    """Events are asked for, or come unasked."""
    hides_usage: bool = False
    """The client did not ask for the usage of its stream."""
    request_bytes: int = 0
    reserved_bytes: int = 0
    """What its body takes of the process's room for bodies."""
    # authenticate, authorize
    key: KeyRecord | None = None
    project: ProjectRecord | None = None
    capture: Capture | None = None
    """What is said, for a project that has it kept."""
    cors_origin: bytes = b""
    """The origin of the page that may read the answer; empty: none may."""
    speaks_of_foreign: bool = False
    """It names something that nobody made here, and may."""
    # admit, look up
    reservation: Reservation | None = None
    admitted: bool = False
    counts_as: int = 1
    """For quotas by the day and altogether: a batch of embeddings is as many as it has inputs."""
    reserved_tokens: int = 0
    """What was reserved of a minute's tokens."""
    cache: str = ""
    # fetch
    attempts: tuple[Attempt, ...] = ()
    """Tries at providers, in their order; of the last one is what the client gets."""
    attempt: Attempt | None = None
    """The last one."""
    # hand on
    answer_started: bool = False
    answer_ended: bool = False
    passed_unread: bool = False
    """Some of the answer has gone to the client without anybody here having read it."""
    status: int = 0
    response_bytes: int = 0
    response_id: str = ""
    goes_on: bool = False
    """The response is made in the background: what it costs is asked for later (`background.py`)."""
    stored_keys: tuple[str, ...] = ()
    """Keys of what the provider keeps, that this request made, or that the database is to hear of again."""
    usage: Usage | None = None
    units: Units | None = None
    """How much there is of what has a price by something else than tokens, where the answer says so."""
    span: Span | None = None
    """Its place in a trace; None unless traces are on."""
    # account
    outcome: str = ""
    error_code: str = ""

    def __post_init__(self) -> None:
        scope = self.scope
        self.started_at = now = time.time()
        self.t0 = time.monotonic()
        self.request_id = new_request_id(now)
        self.method, self.path = scope["method"], scope["path"]
        self.call = call = scope.get(CALL)
        if call is not None:
            self.head, self.length = call.head, call.length
        else:
            self.head, self.length = read_head(scope["headers"])

    def repeat_attempt(self) -> None:
        """The request goes to the same provider once more: the pooled connection was dead."""
        last = self.attempts[-1]
        last.error = "upstream_disconnected"
        again = last.again()
        again.sent_at = time.monotonic()
        self.begin(again)

    def begin(self, attempt: Attempt) -> None:
        self.attempts += (attempt,)
        self.attempt = attempt

    @property
    def has_body(self) -> bool:
        return self.length not in (None, b"0") or b"transfer-encoding" in self.head.fields

    @property
    def is_form(self) -> bool:
        return self.head.fields.get(b"content-type", b"").lower().startswith(FORM)

    def let_go(self, room: BodyRoom) -> None:
        """It has ended. Whoever still knows it, such as an exception's frames, does not keep its body."""
        self.body = self.passed_body = self.capture = None
        room.reserved_bytes -= self.reserved_bytes
        self.reserved_bytes = 0
