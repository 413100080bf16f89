"""The settings of one answer: the body's `simulate` member, and behind it the server's or the provider's defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from providers.simulator.refusals import RefusedError

# A client's `simulate` reaches the simulator inside the process: one request must not block the event loop for long.
MAX_TOKENS = 200_000
MAX_BYTES = 16 * 1024 * 1024
DAY_MS = 86_400_000

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=DAY_MS)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=DAY_MS / 1000)]
After = Annotated[int, msgspec.Meta(ge=0)]


class Fault(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind"):
    """What goes wrong. Each kind of fault is a subclass."""


class Status(Fault, tag="status"):
    """The request is refused with this status."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    retry_after: Seconds | None = None


class CutAfter(Fault, tag="cut"):
    """The connection drops after this many tokens."""

    after: After = 0


class Reset(Fault, tag="reset"):
    """The connection drops before the head."""


class StallAfter(Fault, tag="stall"):
    """Nothing more is sent after this many tokens, until the peer closes the connection."""

    after: After = 0


class MalformedAfter(Fault, tag="malformed"):
    """Half a JSON frame comes after this many tokens. Then the stream goes on."""

    after: After = 0


class NoDone(Fault, tag="no_done"):
    """The stream ends without its last frame, but properly as HTTP."""


class SlowFirstByte(Fault, tag="slow_first_byte"):
    """The head comes this many seconds late."""

    seconds: Seconds


class Html(Fault, tag="html"):
    """A web page with status 200, as from a captive portal or a wrong base URL."""


class ContextLength(Fault, tag="context_length"):
    """400 `context_length_exceeded`."""


class ContentFilter(Fault, tag="content_filter"):
    """The answer ends with the content filter's finish reason."""


class Flap(Fault, tag="flap"):
    """In this process, every `period`-th request with this fault fails with 500."""

    period: Annotated[int, msgspec.Meta(ge=1)]


AnyFault = (
    Status
    | CutAfter
    | Reset
    | StallAfter
    | MalformedAfter
    | NoDone
    | SlowFirstByte
    | Html
    | ContextLength
    | ContentFilter
    | Flap
)
Usage = Literal["openai", "last", "every", "none", "always"]


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """The members of `simulate`."""

    tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = 16
    """The length of the answer in tokens. The request's own maximum may make it shorter."""

    bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_BYTES)] | None = None
    """In place of `tokens`: the body of a plain answer has about so many bytes."""

    delay_ms: Milliseconds = 0
    """A pause before the head."""

    first_token_ms: Milliseconds = 0
    """A pause between the head and the first token, or before the body of a plain answer."""

    tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0
    """The rate of a stream; 0 means no pauses."""

    usage: Usage = "openai"
    """Which frames of a stream contain usage: see `counting.py`."""

    fault: AnyFault | None = None


NAMES = Settings.__struct_fields__
PLAIN = Settings()


def settings_of(simulate: Any, defaults: Mapping[str, Any] | None) -> Settings:
    """The settings of one request. Raises `RefusedError`, which names the wrong field."""
    if simulate is None and not defaults:
        return PLAIN
    if not isinstance(simulate, dict | None):
        raise RefusedError("'simulate' must be an object.", param="simulate", code="invalid_type")
    try:
        return msgspec.convert({**(defaults or {}), **(simulate or {})}, Settings)
    except msgspec.ValidationError as error:
        field = field_of(str(error))
        raise RefusedError(f"Invalid '{field}': {error}", param=field, code="invalid_value") from None


def problem_with(options: Mapping[str, Any]) -> str | None:
    """What is wrong with defaults, as a sentence for the operator; None if nothing is."""
    try:
        msgspec.convert(dict(options), Settings)
    except msgspec.ValidationError as error:
        return f"Invalid `{field_of(str(error)).removeprefix('simulate.')}`: {error}"
    return None


def field_of(message: str) -> str:
    """The path of the field that msgspec's message is about: the error has no attribute for it."""
    at = re.search(r"at `\$\.?([^`]*)`$", message)
    name = re.search(r"field `([^`]*)`", message)
    return ".".join(["simulate", *(match[1] for match in (at, name) if match and match[1])])
