"""Which headers may pass, upward and downward (F60)."""

from __future__ import annotations

from proxy.exchange import Headers

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)

NEVER_UP = HOP_BY_HOP | frozenset(
    # credentials, and what chooses whose money is spent
    b"authorization x-api-key api-key cookie openai-organization openai-project "
    # framing and addressing, which are made anew
    b"host content-length expect accept-encoding "
    # who the client is and where it came from
    b"forwarded via x-real-ip x-client-ip true-client-ip x-request-id x-correlation-id origin referer "
    b"x-cluster-client-ip "
    # words for Sluice
    b"x-preferred-model x-cache-skip x-cache-replay x-cache-key cache-control pragma if-none-match "
    b"if-modified-since".split()
)
NEVER_UP_PREFIXES = (b"x-forwarded-", b"x-sluice-", b"cf-", b"sec-", b"proxy-", b"access-control-")

NEVER_DOWN = HOP_BY_HOP | frozenset(
    b"set-cookie set-cookie2 server date via x-powered-by alt-svc strict-transport-security www-authenticate nel "
    b"report-to reporting-endpoints expect-ct public-key-pins content-length content-security-policy x-frame-options "
    # Sluice's own
    b"x-correlation-id server-timing x-cache x-cache-key x-cache-hit age cache-status x-provider etag".split()
)
NEVER_DOWN_PREFIXES = (b"access-control-", b"cf-", b"x-forwarded-", b"x-sluice-", b"x-envoy-", b"proxy-")
OWN_PREFIX = b"x-ratelimit-"

_NAMES_KEPT = 2048
_down: dict[bytes, bytes | None] = {}


def upward(headers: Headers, named_by_connection: bytes | None) -> Headers:
    """The client's headers that go to the provider, in their order."""
    dropped = NEVER_UP
    if named_by_connection:
        # What the Connection header names is between the client and this hop (RFC 9110, section 7.6.1).
        dropped = dropped | {name.strip().lower() for name in named_by_connection.split(b",")}
    return [
        header for header in headers if header[0] not in dropped and not header[0].startswith(NEVER_UP_PREFIXES)
    ]


def downward(headers: Headers) -> Headers:
    """The provider's headers that go to the client, under the names that they go by there."""
    passed = []
    for name, value in headers:
        try:
            own_name = _down[name]
        except KeyError:
            own_name = _name_below(name)
            if len(_down) < _NAMES_KEPT:
                _down[name] = own_name
        if own_name is not None:
            passed.append((own_name, value))
    return passed


def _name_below(name: bytes) -> bytes | None:
    if name == b"x-request-id":
        return b"x-upstream-request-id"
    if name in NEVER_DOWN or name.startswith(NEVER_DOWN_PREFIXES):
        return None
    if name.startswith(OWN_PREFIX):
        return b"x-upstream-" + name
    return name
