"""Write an error in the format of the API that was asked, also if no endpoint is known. The path decides."""

from __future__ import annotations

from proxy.endpoints import dialect_of
from proxy.errors import BadRequest, ProxyError
from strict.errors import error_bytes, is_management


def body_of(path: str, error: ProxyError) -> bytes:
    return dialect_of(path).error(error.message, error.type, error.param, error.code)


def shaped_body(path: str, status: int, message: str, code: str) -> bytes:
    """The body of an error that no step and no view answers. A blank path is unknown."""
    if is_management(path):
        return error_bytes(message, code)
    kind = ProxyError.type if status >= ProxyError.status else BadRequest.type
    return dialect_of(path).error(message, kind, None, code)
