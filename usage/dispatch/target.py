"""The target of a dispatcher, from environment variables or the command line.

A dispatcher named `n` reads `DISPATCH_N_URL` and similar variables. A `-` in the name becomes `_`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from usage.dispatch import DISPATCHERS
from usage.sending.signature import key_of

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Target(msgspec.Struct, frozen=True):
    """`secret` signs requests, `api_key` authenticates them, and `headers` are added to each.

    `path`, `max_bytes` and `backups` are for files.
    """

    name: str
    kind: str
    url: str = ""
    secret: str = ""
    api_key: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    path: str = ""
    max_bytes: int = 50 * 1024 * 1024
    backups: int = 5

    @property
    def consumer(self) -> str:
        """The dispatcher's name as a consumer of the journal."""
        return f"dispatch-{self.name}"

    def __repr__(self) -> str:
        return f"Target({self.name}, {self.kind})"


class BadTarget(ValueError):
    """A target is not valid. The message names the variable and says what to write."""

    def __init__(self, variable: str, remedy: str) -> None:
        super().__init__(f"{variable}: {remedy}")
        self.variable, self.remedy = variable, remedy


def named(text: str, variable: str = "DISPATCH_TO") -> tuple[str, str]:
    """Parse `kind` or `name=kind` to (name, kind). Raises `BadTarget`."""
    name, equals, kind = (part.strip() for part in text.partition("="))
    kind = kind if equals else name
    if kind not in DISPATCHERS:
        raise BadTarget(variable, f"there is no dispatcher {kind!r}; use {', '.join(DISPATCHERS)}, or name=kind")
    if not NAME.fullmatch(name):
        raise BadTarget(variable, f"a dispatcher's name has up to 32 of a-z, 0-9 and -, not {name!r}")
    return name, kind


def target_from(variables: Mapping[str, str], name: str, kind: str, **overrides: str | None) -> Target:
    """Return the target of this name. `overrides` take precedence over the variables. Raises `BadTarget`."""
    dispatcher = DISPATCHERS[kind]
    prefix = f"DISPATCH_{name.upper().replace('-', '_')}_"
    options: dict[str, object] = {}
    for option in (*dispatcher.needs, *dispatcher.takes):
        variable, parse, is_secret = OPTIONS[option]
        variable = prefix + variable
        value = overrides.get(option) or variables.get(variable, "").strip()
        value = value or (dispatcher.default_url if option == "url" else "")
        if value:
            try:
                options[option] = parse(value)
            except ValueError as error:
                shown = "its value" if is_secret else repr(value)
                raise BadTarget(variable, f"{shown} does not fit; {error} (see docs/configuration.md)") from None
        elif option in dispatcher.needs:
            raise BadTarget(variable, f"a dispatcher of kind {kind} needs it")
    return msgspec.convert({"name": name, "kind": kind, **options}, Target)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("use a URL that starts with http:// or https://")
    return value


def _secret(value: str) -> str:
    key_of(value)
    return value


def _key(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("it has a character that no HTTP header can carry")
    return value


def _headers(value: str) -> tuple[tuple[str, str], ...]:
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    if not all(equals and TOKEN.fullmatch(name.strip()) for name, equals, _ in pairs):
        raise ValueError("write name=value,name=value")
    return tuple((name.strip().lower(), _key(content.strip())) for name, _, content in pairs)


def _whole(least: int, value: str) -> int:
    if not value.isdecimal() or not least <= int(value) <= 2**53:
        raise ValueError(f"use a whole number from {least}")
    return int(value)


class Option(NamedTuple):
    """How an operator sets a field of a target.

    `variable` is the end of the variable's name. `parse` raises `ValueError` with a remedy. An error message does not
    repeat a secret. A URL counts as secret, because it may contain a password.
    """

    variable: str
    parse: Callable[[str], object] = str
    is_secret: bool = False


OPTIONS = {
    "url": Option("URL", _url, is_secret=True),
    "secret": Option("SECRET", _secret, is_secret=True),
    "api_key": Option("KEY", _key, is_secret=True),
    "headers": Option("HEADERS", _headers, is_secret=True),
    "path": Option("PATH"),
    "max_bytes": Option("MAX_BYTES", lambda value: _whole(1024, value)),
    "backups": Option("BACKUPS", lambda value: _whole(0, value)),
}
