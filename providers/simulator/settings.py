"""How one answer is to behave: the body's `simulate` member over the server's (or the provider's) defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from providers.simulator.refusals import RefusedError

# A client's `simulate` reaches the player inside the gateway: no single request may hold its event loop for long.
MAX_TOKENS = 200_000
MAX_BYTES = 16 * 1024 * 1024
DAY_MS = 86_400_000

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=DAY_MS)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=DAY_MS / 1000)]
After = Annotated[int, msgspec.Meta(ge=0)]


class Fault(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind"):
    """What goes wrong, one subclass a kind."""


class Status(Fault, tag="status"):
    """Refused with this status."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    retry_after: Seconds | None = None


class CutAfter(Fault, tag="cut"):
    """The connection drops after this many tokens."""

    after: After = 0


class Reset(Fault, tag="reset"):
    """The connection drops before the head."""


class StallAfter(Fault, tag="stall"):
    """Silence after this many tokens, until the peer goes away."""

    after: After = 0


class MalformedAfter(Fault, tag="malformed"):
    """Half a JSON frame after this many tokens; then the stream goes on."""

    after: After = 0


class NoDone(Fault, tag="no_done"):
    """The stream ends properly but lacks its last frame."""


class SlowFirstByte(Fault, tag="slow_first_byte"):
    """The head comes this late."""

    seconds: Seconds


class Html(Fault, tag="html"):
    """200 with a web page, as from a captive portal or a wrong base URL."""


class ContextLength(Fault, tag="context_length"):
    """400 `context_length_exceeded`."""


class ContentFilter(Fault, tag="content_filter"):
    """The answer ends with the content filter's finish reason."""


class Flap(Fault, tag="flap"):
    """Every `period`-th of such requests in this process fails with 500."""

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
    """Length of the answer, also bounded by the request's own maximum."""

    bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_BYTES)] | None = None
    """Instead of `tokens`: the plain answer's body has about this size."""

    delay_ms: Milliseconds = 0
    """Before the head."""

    first_token_ms: Milliseconds = 0
    """Between the head and the first token; before the body of a plain answer."""

    tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0
    """The rate of a stream; 0 is as fast as can be."""

    usage: Usage = "openai"
    """When a stream tells usage, as `counting.py` explains."""

    fault: AnyFault | None = None


NAMES = Settings.__struct_fields__
PLAIN = Settings()


def settings_of(simulate: Any, defaults: Mapping[str, Any] | None) -> Settings:
    """The settings of one request; a wrong one is refused with 400, naming the field."""
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
    """What is wrong with defaults, as a sentence for the operator; None when they fit."""
    try:
        msgspec.convert(dict(options), Settings)
    except msgspec.ValidationError as error:
        return f"Invalid `{field_of(str(error)).removeprefix('simulate.')}`: {error}"
    return None


def field_of(message: str) -> str:
    """The field that msgspec complains of, as a path: msgspec tells it only in its message."""
    at = re.search(r"at `\$\.?([^`]*)`$", message)
    name = re.search(r"field `([^`]*)`", message)
    return ".".join(["simulate", *(match[1] for match in (at, name) if match and match[1])])
