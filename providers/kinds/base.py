"""The base class of the kinds of providers, and helpers for their options and headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

Headers = list[tuple[bytes, bytes]]


class Kind:
    """How Sluice calls the providers of one kind: paths, authentication and options.

    A subclass is one file in this folder and one entry in `KINDS`. `problem_with` runs when a provider is saved. The
    headers are built when the configuration is loaded, or at the first request that needs them, and are then kept.
    `path` runs for each request to a provider. The methods must not block, and must not raise for options that
    `problem_with` accepts.
    """

    name: str
    api = "openai"
    """The API that its providers speak. Requests in another one are translated (`proxy/dialects/pairs.py`)."""

    needs_base_url = True
    """False: a provider without a base URL is answered inside the process."""

    asks_for_stream_usage = True
    """True: its providers understand `stream_options.include_usage` for chat and legacy completions."""

    addresses_models = False
    """True: the path of a request contains the model."""

    telemetry_name: str | None = None
    """OpenTelemetry's name of the vendor, if the kind has one; None: traces tell the vendor by the address."""

    def problem_with(self, options: Any) -> str | None:
        """What is wrong with a provider's `options`, as a sentence for the operator; None if nothing is."""
        return "Write a JSON object." if not isinstance(options, dict) else None

    def auth_headers(self, secret: str, options: Mapping[str, Any]) -> Headers:
        """The headers that carry the credential, with names in lower case."""
        return [(b"authorization", b"Bearer " + secret.encode())]

    def extra_headers(self, options: Mapping[str, Any]) -> Headers:
        """Other headers that every request to this provider carries."""
        return []

    def health_path(self, options: Mapping[str, Any]) -> str | None:
        """The path of a health check, without `/v1`; None: the provider is not checked."""
        return options.get("health_path", "/models") or None

    def path(self, base_path: str, rest: str, query: str, model: str, options: Mapping[str, Any]) -> str:
        """The request target. `rest` is the client's path after `/v1`, already checked.

        `model` is the provider's name for the model, or "".
        """
        return f"{base_path}{rest}?{query}" if query else base_path + rest


def unknown_option(options: Mapping[str, Any], allowed: Iterable[str]) -> str | None:
    """A sentence about the first option that the kind does not know; None if it knows all of them."""
    names = sorted(allowed)
    for name in options:
        if name not in names:
            meant = get_close_matches(str(name), names, 1)
            return f"Unknown option {name!r}; " + (
                f"did you mean {meant[0]}?" if meant else f"known are {', '.join(names)}."
            )
    return None


def header_lines(headers: Headers) -> bytes:
    """The headers as lines of a message. Raises `ValueError` if a value would begin a new line or contains NUL."""
    lines = b"".join([b"%s: %s\r\n" % header for header in headers])
    # Counting is faster than a search in every value: more line ends than headers means that a value contains one.
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise ValueError("a header value has a line break in it")
    return lines


def read_lines(lines: bytes) -> Headers:
    """The headers of such lines, as pairs, for callers that use an HTTP library."""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines.splitlines())]


def health_problem(options: Mapping[str, Any]) -> str | None:
    """What is wrong with the option `health_path`; None if nothing is."""
    path = options.get("health_path", "/models")
    if path is False or (isinstance(path, str) and path.startswith("/") and is_target(path)):
        return None
    return "`health_path` is a path that begins with a slash, or false."


def is_target(path: str) -> bool:
    """Whether a request line can carry the path."""
    return path.isascii() and path.isprintable() and " " not in path and "#" not in path


def header_problem(headers: Any) -> str | None:
    """What is wrong with an option that maps header names to values; None if nothing is."""
    if not isinstance(headers, Mapping):
        return "`headers` maps header names to values."
    for name, value in headers.items():
        if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            return f"{name!r} is not a header name."
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            return f"The value of header {name!r} must be printable ASCII."
    return None


def as_headers(headers: Mapping[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]
