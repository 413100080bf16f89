"""Errors of the simulator, in OpenAI's format, and the checks of parameters that raise them."""

from __future__ import annotations

from typing import Any

import msgspec

from providers.simulator.actions import Headers

TYPES = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "permission_denied"),
    404: ("invalid_request_error", "not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class RefusedError(Exception):
    """The request is answered with this error."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str | None = None,  # noqa: A002 - the name on the wire
        param: str | None = None,
        code: str | None = None,
        headers: Headers = (),
    ) -> None:
        super().__init__(message)
        by_status = TYPES.get(status) or (("server_error", None) if status >= 500 else ("invalid_request_error", None))
        self.status = status
        self.headers = headers
        self.error = {"message": message, "type": type or by_status[0], "param": param, "code": code or by_status[1]}

    def body(self) -> bytes:
        return msgspec.json.encode({"error": self.error})


def member(body: dict[str, Any], name: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
    """A parameter of the request; `default` if it is absent or null. Raises `RefusedError` for a wrong type."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise RefusedError(f"Invalid type for '{name}'.", param=name, code="invalid_type")
    return value


def counted(body: dict[str, Any], name: str, default: int | None, low: int, high: int) -> int | None:
    """An integer parameter; `default` if it is absent or null. Raises `RefusedError` if it is out of bounds."""
    value = member(body, name, int)
    if value is None:
        return default
    if not low <= value <= high:
        message = f"Invalid value for '{name}': expected between {low} and {high}, got {value}."
        raise RefusedError(message, param=name, code="invalid_value")
    number: int = value
    return number
