"""What a kind of provider is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

Headers = list[tuple[bytes, bytes]]


class Kind:
    """How providers of one sort are addressed and paid.

    A subclass is one file in this folder and one entry in `KINDS`. Its methods run once for each provider when the
    configuration is loaded (`problem_with`, `auth_headers`) or once a request (`path`); they neither block nor
    raise for options that `problem_with` let pass.
    """

    name: str
    api = "openai"
    """Whose API it speaks. What clients ask in another one is translated (`proxy/dialects/pairs.py`)."""

    needs_base_url = True
    """False: the kind answers in the process itself when it has no base URL."""

    asks_for_stream_usage = True
    """True: it understands `stream_options.include_usage` on chat and legacy completions."""

    addresses_models = False
    """True: where a request goes depends on its model, also within the provider."""

    telemetry_name: str | None = None
    """What OpenTelemetry calls its vendor, where the kind means one; None: traces tell it by the address."""

    def problem_with(self, options: Any) -> str | None:
        """What is wrong with a provider's `options`, as a sentence for the operator; None when they fit."""
        return "Write a JSON object." if not isinstance(options, dict) else None

    def auth_headers(self, secret: str, options: Mapping[str, Any]) -> Headers:
        """The headers that carry the credential; names in lower case."""
        return [(b"authorization", b"Bearer " + secret.encode())]

    def extra_headers(self, options: Mapping[str, Any]) -> Headers:
        """Headers that every request to this provider carries besides."""
        return []

    def health_path(self, options: Mapping[str, Any]) -> str | None:
        """What is asked for to see whether it is there, as what follows `/v1`; None: it is not asked."""
        return options.get("health_path", "/models") or None

    def path(self, base_path: str, rest: str, query: str, model: str, options: Mapping[str, Any]) -> str:
        """The request target. `rest` is what follows `/v1`, already checked; `model` is the provider's name for it."""
        return f"{base_path}{rest}?{query}" if query else base_path + rest


def unknown_option(options: Mapping[str, Any], allowed: Iterable[str]) -> str | None:
    """What is wrong with an option that the kind does not know."""
    names = sorted(allowed)
    for name in options:
        if name not in names:
            meant = get_close_matches(str(name), names, 1)
            return f"Unknown option {name!r}; " + (
                f"did you mean {meant[0]}?" if meant else f"known are {', '.join(names)}."
            )
    return None


def header_lines(headers: Headers) -> bytes:
    """Headers as they stand in a message. Raises `ValueError` for one that would break out of its line."""
    lines = b"".join([b"%s: %s\r\n" % header for header in headers])
    # One comparison instead of a search in every value: more line ends than lines means that a value carries one.
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise ValueError("a header value has a line break in it")
    return lines


def read_lines(lines: bytes) -> Headers:
    """The headers again, for who does not write them to a socket."""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines.splitlines())]


def health_problem(options: Mapping[str, Any]) -> str | None:
    """What is wrong with the option `health_path`."""
    path = options.get("health_path", "/models")
    if path is False or (isinstance(path, str) and path.startswith("/") and is_target(path)):
        return None
    return "`health_path` is a path that begins with a slash, or false."


def is_target(path: str) -> bool:
    """Whether a request line can carry it."""
    return path.isascii() and path.isprintable() and " " not in path and "#" not in path


def header_problem(headers: Any) -> str | None:
    """What is wrong with an option that maps header names to values."""
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
