"""X96: each header that stays at this hop, by its name, without a server."""

from __future__ import annotations

import pytest

from proxy.wire.headers import Names, downward, name_above, name_below, upward

AT_EACH_HOP = (
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    b"upgrade"
).split()
CREDENTIALS = (
    b"authorization x-api-key api-key cookie openai-organization openai-project x-auth-token x-goog-api-key "
    b"x-amz-security-token x-csrf-token x-auth-request-email proxy-x"
).split()
FRAMING = b"host content-length expect accept-encoding".split()
WHO_ASKS = (
    b"forwarded via x-real-ip x-client-ip true-client-ip x-request-id x-correlation-id origin referer "
    b"x-cluster-client-ip x-forwarded x-forwarded-for client-ip x-originating-ip x-remote-ip x-remote-addr "
    b"x-remote-user remote-user x-proxyuser-ip fly-client-ip fastly-client-ip x-azure-clientip "
    b"x-azure-socketip x-amzn-trace-id x-host front-end-https cf-connecting-ip x-envoy-external-address "
    b"sec-fetch-site sec-ch-ua access-control-request-method"
).split()
OTHER_REQUESTS = (
    b"x-http-method x-http-method-override x-method-override x-rewrite-url x-original-url x-original-host"
).split()
FOR_SLUICE = (
    b"x-preferred-model x-cache-skip x-cache-replay x-cache-key cache-control pragma if-none-match if-modified-since "
    b"x-sluice-anything"
).split()
UP = b"content-type accept user-agent openai-beta idempotency-key x-stainless-lang x-app anthropic-version".split()

OF_THE_PROVIDERS_SITE = (
    b"set-cookie set-cookie2 server date via x-powered-by alt-svc strict-transport-security www-authenticate nel "
    b"report-to reporting-endpoints expect-ct public-key-pins content-length content-security-policy x-frame-options "
    b"access-control-allow-origin cf-ray x-forwarded-host x-envoy-upstream-service-time proxy-status"
).split()
ORDERS = b"x-sendfile x-lighttpd-send-file x-reproxy-url x-accel-redirect".split()
SLUICES = (
    b"x-correlation-id server-timing x-cache x-cache-key x-cache-hit age cache-status x-provider etag x-sluice-anything"
).split()
DOWN = (
    b"content-type openai-processing-ms openai-version retry-after content-disposition cache-control x-robots".split()
)


def lines(*names: bytes, value: bytes = b"x") -> list[tuple[bytes, bytes]]:
    return [(name, value) for name in names]


@pytest.mark.parametrize("name", [*AT_EACH_HOP, *CREDENTIALS, *FRAMING, *WHO_ASKS, *OTHER_REQUESTS, *FOR_SLUICE])
def test_it_never_goes_up(name: bytes):
    assert name_above(name) is None
    assert upward(lines(b"accept", name, b"user-agent", value=b"close")) == lines(
        b"accept", b"user-agent", value=b"close"
    )


@pytest.mark.parametrize("name", [*AT_EACH_HOP, *OF_THE_PROVIDERS_SITE, *ORDERS, *SLUICES])
def test_it_never_comes_down(name: bytes):
    assert name_below(name) is None
    passed = downward(lines(b"retry-after", name, b"content-type", value=b"close"), b"")
    assert passed == lines(b"retry-after", b"content-type", value=b"close")


def test_all_else_passes_in_its_order():
    assert upward(lines(*UP)) == lines(*UP)
    assert downward(lines(*DOWN), b"secret") == lines(*DOWN)


def test_what_the_provider_says_of_itself_comes_under_a_name_of_its_own():
    told = downward(lines(b"x-request-id", b"x-ratelimit-limit-requests", b"x-ratelimit-reset-tokens"), b"secret")
    assert told == lines(
        b"x-upstream-request-id", b"x-upstream-x-ratelimit-limit-requests", b"x-upstream-x-ratelimit-reset-tokens"
    )


def test_a_header_that_repeats_the_credential_does_not_come_down():
    told = [(b"x-echo", b"Bearer sk-1 yes"), (b"x-other", b"sk-2"), (b"x-request-id", b"sk-1")]
    assert downward(told, b"sk-1") == [(b"x-other", b"sk-2")]
    assert len(downward(told, b"")) == len(told)


@pytest.mark.parametrize("said", [b"x-one, Keep-Alive,X-Two", b"X-ONE ,x-two", b"close, x-one, x-two"])
def test_what_connection_names_is_for_its_hop_alone(said: bytes):
    headers = [*lines(b"x-one", b"accept"), (b"connection", said), *lines(b"x-two", b"x-three", b"close")]
    kept = lines(b"accept", b"x-three", *([] if b"close" in said else [b"close"]))
    assert upward(headers) == kept
    assert downward(headers, b"") == kept


@pytest.mark.parametrize("said", [b"close", b"Keep-Alive"])
def test_an_ordinary_connection_names_no_header(said: bytes):
    headers = [(b"connection", said), *lines(b"close", b"accept")]
    assert upward(headers) == lines(b"close", b"accept")
    assert downward(headers, b"") == lines(b"close", b"accept")


def test_each_of_two_connection_headers_counts():
    headers = [(b"connection", b"x-one"), *lines(b"x-one", b"x-two", b"accept"), (b"connection", b"close")]
    assert upward(headers) == lines(b"x-two", b"accept")


def test_names_are_remembered_up_to_a_number_and_decided_all_the_same():
    decided: list[bytes] = []

    def decide(name: bytes) -> bytes:
        decided.append(name)
        return name.upper()

    names = Names(decide)
    for number in range(Names.KEPT + 10):
        assert names[b"x%d" % number] == b"X%d" % number
    assert len(names) == Names.KEPT == 2048
    decided.clear()
    assert (names[b"x1"], names[b"x%d" % Names.KEPT]) == (b"X1", b"X%d" % Names.KEPT)
    assert decided == [b"x%d" % Names.KEPT]
