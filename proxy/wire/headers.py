"""Which headers are forwarded: upward to the provider, and downward to the client (F60)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from providers.kinds.base import Headers

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade".split()
)

NEVER_UP = HOP_BY_HOP | frozenset(
    # credentials, and headers that choose which account pays
    b"authorization x-api-key api-key cookie openai-organization openai-project "
    b"x-auth-token x-goog-api-key x-amz-security-token x-csrf-token "
    # framing and addressing, which Sluice writes itself
    b"host content-length expect accept-encoding "
    # who the client is and where it came from
    b"forwarded via x-real-ip x-client-ip true-client-ip x-request-id x-correlation-id origin referer "
    b"x-cluster-client-ip x-forwarded client-ip x-originating-ip x-remote-ip x-remote-addr x-remote-user remote-user "
    b"x-proxyuser-ip fly-client-ip fastly-client-ip x-azure-clientip x-azure-socketip x-amzn-trace-id x-rewrite-url "
    b"x-host front-end-https "
    # another method or path than the one that was authorized
    b"x-http-method x-http-method-override x-method-override "
    # headers for Sluice
    b"x-preferred-model x-cache-skip x-cache-replay x-cache-key cache-control pragma if-none-match "
    b"if-modified-since".split()
)
NEVER_UP_PREFIXES = (
    *(b"x-forwarded-", b"x-original-", b"x-envoy-", b"x-auth-request-", b"cf-"),
    *(b"x-sluice-", b"sec-", b"proxy-", b"access-control-"),
)

NEVER_DOWN = HOP_BY_HOP | frozenset(
    b"set-cookie set-cookie2 server date via x-powered-by alt-svc strict-transport-security www-authenticate nel "
    b"report-to reporting-endpoints expect-ct public-key-pins content-length content-security-policy x-frame-options "
    # commands to the server in front of Sluice
    b"x-sendfile x-lighttpd-send-file x-reproxy-url "
    # Sluice's own
    b"x-correlation-id server-timing x-cache x-cache-key x-cache-hit age cache-status x-provider etag".split()
)
NEVER_DOWN_PREFIXES = (
    *(b"access-control-", b"cf-", b"x-forwarded-", b"x-sluice-", b"x-envoy-", b"proxy-", b"x-accel-"),
)
OWN_PREFIX = b"x-ratelimit-"


def name_above(name: bytes) -> bytes | None:
    """The name under which a client's header goes to the provider; None if it is not forwarded."""
    return None if name in NEVER_UP or name.startswith(NEVER_UP_PREFIXES) else name


def name_below(name: bytes) -> bytes | None:
    """The name under which a provider's header goes to the client; None if it is not forwarded."""
    if name == b"x-request-id":
        return b"x-upstream-request-id"
    if name in NEVER_DOWN or name.startswith(NEVER_DOWN_PREFIXES):
        return None
    if name.startswith(OWN_PREFIX):
        return b"x-upstream-" + name
    return name


class Names(dict[bytes, bytes | None]):
    """Caches what was decided for a name. The cache is bounded, because clients choose names."""

    KEPT = 2048

    def __init__(self, decide: Callable[[bytes], bytes | None]) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, name: bytes) -> bytes | None:
        decided = self._decide(name)
        if len(self) < self.KEPT:
            self[name] = decided
        return decided


_above = Names(name_above)
_below = Names(name_below)


def keep_here(names: Iterable[bytes]) -> None:
    """Stop forwarding a client's headers with these names, because providers take credentials in them."""
    for name in names:
        _above[name] = None


def upward(headers: Headers) -> Headers:
    """The client's headers that go to the provider, in their order."""
    return [header for header in beyond_this_hop(headers) if _above[header[0]] is not None]


def downward(headers: Headers, secret: bytes) -> Headers:
    """The provider's headers that go to the client, under their names there. None contains the credential."""
    passed = []
    for raw_name, value in headers:
        name = _below[raw_name]
        if name is not None:
            if not secret or value.find(secret) < 0:  # not `in`: see `may_name` in jsonbody.py
                passed.append((name, value))
        elif raw_name == b"connection" and value.lower() not in ORDINARY:
            return downward(beyond_this_hop(headers), secret)
    return passed


ORDINARY = (b"keep-alive", b"close")
"""The usual values of Connection. Any other word in it is the name of a header."""


def beyond_this_hop(headers: Headers) -> Headers:
    """The headers without those that Connection names, which are for this hop alone (RFC 9110, section 7.6.1)."""
    for name, value in headers:
        if name == b"connection" and value.lower() not in ORDINARY:
            dropped = {named.strip().lower() for named in value.split(b",")}
            return beyond_this_hop([header for header in headers if header[0] not in dropped | {b"connection"}])
    return headers
