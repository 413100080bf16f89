"""One request and its answer: what is known of them so far. Each step sets its part, and reads the earlier ones."""

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
    from proxy.caching import Caching
    from proxy.capture import Capture
    from proxy.dialects.base import Dialect, Usage
    from proxy.endpoints import Endpoint
    from proxy.joining import SharedCall
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
    """A unique id. Ids are ordered by time: milliseconds, then a random mark of the process, then a serial number.

    If the clock is set back, the process's last time stays in use until the clock reaches it again. So each id of a
    process sorts behind the one before.
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
    """The whole body of a request that is forwarded unchanged, if it was small enough to be read."""
    deployment: str = ""
    """The model that an Azure path names. It takes precedence over the body's."""
    unpacks: bool = False
    """The body came compressed, and is forwarded unpacked."""
    upload: AsyncIterator[bytes] | None = None
    """All pieces of a form whose beginning has been read."""
    is_metered_form: bool = False
    """The form is metered, so it may not name another model further on."""
    model_field: ModelField | None = None
    """The model in the form, and its position."""
    model: str = ""
    stream: bool = False
    """The client asked for a stream, or the provider sends one unasked."""
    skips_cache: bool = False
    """The body says that the cache is to be left alone."""
    hides_usage: bool = False
    """The client did not ask for the usage of its stream."""
    request_bytes: int = 0
    reserved_bytes: int = 0
    """Bytes that it has reserved of the process's room for bodies."""
    # authenticate, authorize
    key: KeyRecord | None = None
    project: ProjectRecord | None = None
    capture: Capture | None = None
    """The beginnings of both bodies, if the project stores bodies or the log contains them."""
    cors_origin: bytes = b""
    """The origin of the page that may read the answer; empty if none may."""
    speaks_of_foreign: bool = False
    """It names a stored object that no project made, and may do so."""
    # admit, look up
    reservation: Reservation | None = None
    admitted: bool = False
    counts_as: int = 1
    """The number of requests for daily and total quotas: a batch of embeddings counts as many as it has inputs."""
    reserved_tokens: int = 0
    """Tokens reserved from limits on tokens per minute."""
    cache: str = ""
    """What `X-Cache` says."""
    cache_lines: bytes = b""
    """What else the answer says of the cache."""
    caching: Caching | None = None
    """The provider's answer may be stored."""
    client_has_answer: bool = False
    """The stored answer has the tag that the client told."""
    owns_answer: bool = True
    """What its answer makes a provider store belongs to its project. Not if it was made for another project."""
    shared_call: SharedCall | None = None
    """Its call to a provider, which other requests may wait for."""
    # fetch
    attempts: tuple[Attempt, ...] = ()
    """Tries at providers, in their order. The client gets the answer of the last one."""
    attempt: Attempt | None = None
    """The last one."""
    # hand on
    answer_started: bool = False
    answer_ended: bool = False
    client_left: bool = False
    """The client left, and the answer was read on for others."""
    answer_is_whole: bool = False
    """It was read to its end, and is all that there is to say."""
    tells_usage: bool = False
    """Of a stream: the provider told what it used."""
    passed_unread: bool = False
    """The answer, or its beginning, was relayed unread."""
    status: int = 0
    response_bytes: int = 0
    response_id: str = ""
    goes_on: bool = False
    """The response is made in the background: Sluice asks for its usage later (`background.py`)."""
    stored_keys: tuple[str, ...] = ()
    """Keys of stored objects that this request made, or whose time of use is to be recorded again."""
    usage: Usage | None = None
    units: Units | None = None
    """Amounts that have a price by something else than tokens, if the answer says them."""
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
        """Add an attempt at the same provider, because the pooled connection was dead."""
        last = self.attempts[-1]
        last.error = "upstream_disconnected"
        again = last.again()
        again.sent_at = time.monotonic()
        self.begin(again)

    def begin(self, attempt: Attempt) -> None:
        self.attempts += (attempt,)
        self.attempt = attempt

    @property
    def is_needed(self) -> bool:
        """Whether other requests wait for the answer to this one, or read it."""
        return self.shared_call is not None and self.shared_call.is_needed

    @property
    def has_body(self) -> bool:
        return self.length not in (None, b"0") or b"transfer-encoding" in self.head.fields

    @property
    def is_form(self) -> bool:
        return self.head.fields.get(b"content-type", b"").lower().startswith(FORM)

    def let_go(self, room: BodyRoom) -> None:
        """Release the body and its room at the end of the request.

        Exceptions' frames may refer to the exchange for longer, and must not keep the body in memory.
        """
        self.body = self.passed_body = self.capture = None
        room.reserved_bytes -= self.reserved_bytes
        self.reserved_bytes = 0
