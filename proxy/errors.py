"""The errors of the data plane and their statuses. `shapes.py` writes them in the format of the client's API.

    ProxyError
    ├── BadRequest           400  the client must change the request
    ├── NotAuthenticated     401
    ├── Forbidden            403
    ├── NotFound             404
    ├── MethodNotAllowed     405
    ├── RequestTimeout       408  the client did not send its request in time
    ├── TooLarge             413
    ├── UnsupportedMediaType 415
    ├── RateLimited          429
    ├── HeadTooLarge         431
    ├── NotCached            504  an answer from the cache was asked for, and there is none
    ├── Unavailable          503
    │   └── ShuttingDown          the server's grace ran out
    └── UpstreamError        502  the provider, or the connection to it, failed
        └── UpstreamTimeout  504

`ClientGone` is not a `ProxyError`, because no answer can be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from math import ceil
from typing import Any

from keys.access import InactiveProject, KeyRefused, ModelNotAllowed
from keys.limits import LimitExceeded
from keys.rules import MethodRefused, OriginRefused, PathRefused, RuleBroken
from providers.catalog import CredentialUnavailable, NoProvider
from providers.kinds.base import read_lines
from proxy.dialects.pairs import NoPair
from proxy.wire.asgi import Headers
from proxy.wire.fault import Fault
from proxy.wire.jsonbody import NotAnObject, TooLongToRead
from proxy.wire.rate_headers import rate_lines

A_LONG_TIME_S = 86_400
"""`Retry-After` if waiting does not help: a budget without a period, or a request larger than its limit."""


class ClientGone(Exception):
    """The client closed its connection."""


class ProxyError(Exception):
    """A failure that is answered. `code` is stable and can be a metric's label; `message` is for people."""

    status = 500
    type = "api_error"

    def __init__(self, code: str, message: str, *, param: str | None = None, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param, self.headers = code, message, param, headers or []


class BadRequest(ProxyError):
    status = 400
    type = "invalid_request_error"


class NotAuthenticated(ProxyError):
    status = 401
    type = "authentication_error"


class Forbidden(ProxyError):
    status = 403
    type = "permission_error"


class NotFound(ProxyError):
    status = 404
    type = "invalid_request_error"


class MethodNotAllowed(ProxyError):
    status = 405
    type = "invalid_request_error"


class RequestTimeout(ProxyError):
    status = 408
    type = "invalid_request_error"


class TooLarge(ProxyError):
    status = 413
    type = "invalid_request_error"


class UnsupportedMediaType(ProxyError):
    status = 415
    type = "invalid_request_error"


class RateLimited(ProxyError):
    status = 429
    type = "rate_limit_error"


class QuotaExceeded(RateLimited):
    type = "insufficient_quota"  # OpenAI's type: its clients tell it from a rate limit, for which they wait


class HeadTooLarge(ProxyError):
    status = 431
    type = "invalid_request_error"


class Unavailable(ProxyError):
    status = 503
    type = "service_unavailable_error"


class ShuttingDown(Unavailable):
    """The process ends, so the error must be sent without waiting for anything."""

    def __init__(self) -> None:
        message = "The gateway is being stopped, and this request took longer than it could wait for. Send it again."
        super().__init__("shutdown", message, headers=[(b"retry-after", b"1")])


class UpstreamError(ProxyError):
    status = 502
    type = "upstream_error"


class NotCached(ProxyError):
    """The client wants an answer from the cache or none (RFC 9111, section 5.2.1.7)."""

    status = 504
    type = "invalid_request_error"


class NoConnection(UpstreamError):
    """No connection was made, so nothing was sent to the provider."""


class UpstreamTimeout(UpstreamError):
    status = 504
    type = "timeout_error"


def as_proxy_error(error: Exception) -> ProxyError:
    """Convert the exception of a step. An unexpected exception becomes a 500 without details."""
    if isinstance(error, ProxyError):
        return error
    for kind, convert in CONVERSIONS.items():
        if isinstance(error, kind):
            return convert(error)
    return ProxyError("internal_error", "The gateway failed on this request. Its log says more under the request id.")


def refusal_of(fault: Fault) -> ProxyError:
    """The error for a fault, with the code and message that the HTTP server itself would send."""
    kinds: dict[int, type[ProxyError]] = {408: RequestTimeout, 431: HeadTooLarge}
    return kinds.get(fault.status, BadRequest)(fault.code, fault.message)


def _key_refused(error: KeyRefused) -> ProxyError:
    if isinstance(error, InactiveProject | ModelNotAllowed):
        return Forbidden(error.code, error.explanation, param="model" if isinstance(error, ModelNotAllowed) else None)
    return NotAuthenticated(error.code, error.explanation, headers=[(b"www-authenticate", b"Bearer")])


def _rule_broken(error: RuleBroken) -> ProxyError:
    if isinstance(error, MethodRefused):
        return MethodNotAllowed(error.code, str(error), headers=[(b"allow", error.allowed.encode())])
    kinds: dict[type[RuleBroken], type[ProxyError]] = {PathRefused: NotFound, OriginRefused: Forbidden}
    return kinds.get(type(error), BadRequest)(error.code, str(error), param=error.param)


def _no_provider(error: NoProvider) -> ProxyError:
    model = str(error)
    if not model:
        return Unavailable(
            "no_provider", "No provider is set up that could answer this.", headers=[(b"retry-after", b"30")]
        )
    return NotFound("model_not_found", f"The model {model!r} does not exist or no provider has it.", param="model")


def _no_pair(error: NoPair) -> ProxyError:
    return NotFound(
        "endpoint_not_supported", "The provider of this model speaks another API, and cannot be asked this through it."
    )


SDK_WAITS_S = 60


def _limit_exceeded(error: LimitExceeded) -> ProxyError:
    if error.retry_after_s is None:
        wait = A_LONG_TIME_S
        headers = [(b"x-should-retry", b"false")]  # OpenAI's SDKs heed it; waiting would not help
    else:
        wait = max(1, ceil(round(error.retry_after_s, 3)))  # rounded first: 60.0000000001 is not 61
        # OpenAI's SDKs do not wait longer than that: they would ask again after half a second, in vain.
        headers = [(b"x-should-retry", b"false")] if wait > SDK_WAITS_S else []
    headers += [(b"retry-after", b"%d" % wait), *read_lines(rate_lines(*error.statuses[:2]))]
    kind = QuotaExceeded if error.code == QuotaExceeded.type else RateLimited
    return kind(error.code, error.explanation, headers=headers)


def _credential_unavailable(error: CredentialUnavailable) -> ProxyError:
    # The message contains only aliases. The log has more for the operator.
    return Unavailable("credential_unavailable", str(error), headers=[(b"retry-after", b"60")])


def _not_an_object(error: NotAnObject) -> ProxyError:
    return BadRequest("invalid_json", f"The body is not the JSON that it should be: {error}.")


def _too_long(error: TooLongToRead) -> ProxyError:
    return BadRequest("invalid_value", str(error), param=error.name)


CONVERSIONS: dict[type[Exception], Callable[[Any], ProxyError]] = {
    NotAnObject: _not_an_object,
    TooLongToRead: _too_long,
    KeyRefused: _key_refused,
    RuleBroken: _rule_broken,
    NoProvider: _no_provider,
    NoPair: _no_pair,
    LimitExceeded: _limit_exceeded,
    CredentialUnavailable: _credential_unavailable,
}


def reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
