"""An error in OpenAI's shape."""

from __future__ import annotations

import msgspec


def error_body(message: str, type_: str, param: str | None, code: str | None) -> bytes:
    """https://platform.openai.com/docs/guides/error-codes"""
    return msgspec.json.encode({"error": {"message": message, "type": type_, "param": param, "code": code}})
