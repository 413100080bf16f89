"""Webhooks are signed by the Standard Webhooks specification: any of its libraries can verify them."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import pytest

from tests.kit.environment import ROOT
from usage.sending.signature import BadSignature, key_of, signed, verify

SECRET = "a-secret-of-the-tests-0123456789"
NOW = 1_790_000_000.0


def test_a_signature_is_what_the_specifications_libraries_make():
    """The vector of the reference implementation's own tests."""
    headers = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        1_614_265_330,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_signed_verifies():
    verify(SECRET, signed(SECRET, "m1", b"{}", NOW), b"{}", NOW + 200)


def test_the_code_in_the_docs_verifies():
    """Receivers copy it."""
    [code] = re.findall(r"```python\n(.*?def is_ours.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    headers = signed(SECRET, "m1", b"{}", time.time())
    assert names["is_ours"](headers, b"{}", SECRET.encode())
    assert not names["is_ours"](headers, b"{}", b"another")
    assert not names["is_ours"](signed(SECRET, "m1", b"{}", time.time() - 301), b"{}", SECRET.encode())


def test_one_signature_of_several_is_enough():
    headers = signed(SECRET, "m1", b"{}", NOW)
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    verify(SECRET, headers, b"{}", NOW)


@pytest.mark.parametrize(
    "change, body, secret, late",
    [
        ({}, b"{ }", SECRET, 0),
        ({"webhook-id": "m2"}, b"{}", SECRET, 0),
        ({"webhook-timestamp": "1790000001"}, b"{}", SECRET, 0),
        ({"webhook-timestamp": "soon"}, b"{}", SECRET, 0),
        ({"webhook-signature": "v1,é"}, b"{}", SECRET, 0),
        ({}, b"{}", SECRET + "x", 0),
        ({}, b"{}", SECRET, 301),
        ({}, b"{}", SECRET, -301),
    ],
)
def test_what_was_changed_or_is_old_does_not(change: dict[str, str], body: bytes, secret: str, late: int):
    headers = {**signed(SECRET, "m1", b"{}", NOW), **change}
    with pytest.raises(BadSignature):
        verify(secret, headers, body, NOW + late)


def test_a_missing_header_is_told():
    with pytest.raises(BadSignature, match="webhook-id"):
        verify(SECRET, {}, b"", NOW)


def test_a_secret_is_base64_behind_its_prefix_and_else_text():
    assert key_of("whsec_" + base64.b64encode(b"0123456789abcdef").decode()) == b"0123456789abcdef"
    assert key_of(SECRET) == SECRET.encode()


@pytest.mark.parametrize("secret", ["", "short", "whsec_", "whsec_***", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_secret_that_is_none_is_refused_without_repeating_it(secret: str):
    with pytest.raises(ValueError, match=r"16 characters|base64") as refused:
        key_of(secret)
    assert "***" not in str(refused.value)
