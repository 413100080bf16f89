"""Sign webhooks by the Standard Webhooks specification 1.0.0, so that receivers can verify that Sluice sent them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

The header `webhook-signature` has `v1,` and base64 of HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`. The
id is the same each time a message is sent. The timestamp (Unix seconds) is that of the attempt. If a secret begins with
`whsec_`, the key is the rest decoded from base64, as in the specification's libraries; else it is the UTF-8 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
LEAST_BYTES = 16
TOLERANCE_S = 300
"""How old a message may be: longer than clocks differ, and too short for a replayed copy to be of use."""


class BadSignature(ValueError):
    """A message is not signed with the secret, or is too old. The text says what is wrong."""


def key_of(secret: str) -> bytes:
    """Return the key in a secret. Raises `ValueError`, whose text does not repeat the secret."""
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ValueError(f"what begins with {PREFIX} goes on in base64") from None
    else:
        key = secret.encode()
    if len(key) < LEAST_BYTES:
        raise ValueError(f"use at least {LEAST_BYTES} characters, such as from `openssl rand -hex 32`")
    return key


def signed(secret: str, message_id: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers for a body. `now` is in Unix seconds."""
    timestamp = str(int(now))
    return {ID: message_id, TIMESTAMP: timestamp, SIGNATURE: f"v1,{_digest(secret, message_id, timestamp, body)}"}


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Verify a message, as a receiver does. Raises `BadSignature`."""
    try:
        message_id, timestamp, signatures = headers[ID], headers[TIMESTAMP], headers[SIGNATURE]
    except KeyError as error:
        raise BadSignature(f"The header {error} is missing.") from None
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE_S:
        raise BadSignature("The message is too old, or from the future.")
    right = f"v1,{_digest(secret, message_id, timestamp, body)}".encode()
    if not any(hmac.compare_digest(right, offered.encode()) for offered in signatures.split(" ")):
        raise BadSignature("The signature does not fit the message.")


def _digest(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    text = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key_of(secret), text, hashlib.sha256).digest()).decode()
