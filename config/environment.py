"""Typed reading of settings from the environment.

Wrong values are collected and reported together, one line each, so that an operator can correct all of them at once
instead of one at each start.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

import redis
from django.core.exceptions import ImproperlyConfigured

from keys.time_zones import is_time_zone

T = TypeVar("T")

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class ConfigurationError(ImproperlyConfigured):
    """The environment has values with which Sluice cannot start. The text has one line for each."""


class Environment:
    """Reads variables from one mapping. `finish()` raises an error if any of them was wrong.

    An empty value counts as unset, because compose files and CI write `NAME=` for an unset variable.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.errors: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self.variables.get(name, "").strip() or default

    def listed(self, name: str, default: str = "") -> list[str]:
        """The items of a comma-separated list, without blank ones."""
        return [item.strip() for item in self.text(name, default).split(",") if item.strip()]

    def flag(self, name: str, default: bool) -> bool:
        def parse(value: str) -> bool:
            if value.lower() in TRUE:
                return True
            if value.lower() in FALSE:
                return False
            raise ValueError("use true or false")

        return self._parsed(name, default, parse)

    def integer(self, name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        def parse(value: str) -> int:
            if not re.fullmatch(r"[+-]?\d+", value):
                raise ValueError("use a whole number")
            return int(_within(int(value), least, most))

        return self._parsed(name, default, parse)

    def seconds(self, name: str, default: float, *, least: float = 0.001, most: float = 86_400 * 365) -> float:
        def parse(value: str) -> float:
            try:
                number = float(value)
            except ValueError:
                raise ValueError("use a number of seconds, such as 30 or 2.5") from None
            return _within(number, least, most)

        return self._parsed(name, default, parse)

    def optional_integer(self, name: str, *, least: int = 1, most: int = 2**53) -> int | None:
        return self.integer(name, 0, least=least, most=most) or None

    def optional_usd(self, name: str, *, most: int) -> Decimal | None:
        """An amount of at least 0 with at most six decimal places; None if it is unset."""

        def parse(value: str) -> Decimal | None:
            try:
                amount = Decimal(value)
            except InvalidOperation:
                raise ValueError("use an amount of dollars, such as 25 or 0.5") from None
            if not amount.is_finite() or not 0 <= amount <= most or amount != round(amount, 6):
                raise ValueError(f"use an amount from 0 to {most:,} with at most six decimal places")
            return amount

        return self._parsed(name, None, parse)

    def time_zone(self, name: str, default: str) -> str:
        def parse(value: str) -> str:
            if not is_time_zone(value):
                raise ValueError("use an IANA name, such as Europe/Berlin or UTC")
            return value

        return self._parsed(name, default, parse)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        def parse(value: str) -> str:
            if value.lower() not in choices:
                raise ValueError("use one of " + ", ".join(choices))
            return value.lower()

        return self._parsed(name, default, parse)

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        def parse(value: str) -> str:
            parts = parts_of(value)
            if parts.scheme not in schemes or not (parts.netloc or parts.path):
                raise ValueError(f"use a URL that starts with {' or '.join(s + '://' for s in schemes)}")
            return value

        # A URL may contain a password, so the message does not repeat a wrong one.
        return self._parsed(name, default, parse, secret=True)

    def redis_url(self, name: str) -> str:
        def parse(value: str) -> str:
            parts = parts_of(value)
            if parts.scheme not in ("redis", "rediss", "unix"):
                raise ValueError("use a URL that starts with redis:// or rediss:// or unix://")
            if parts.scheme != "unix" and not re.fullmatch(r"(/\d*)?", parts.path):
                raise ValueError("its path is the number of a database: redis://host:6379/0")
            try:
                with redis.Redis.from_url(value) as client:
                    client.connection_pool.make_connection()
            except (TypeError, ValueError):
                raise ValueError("an option behind its ? is unknown or has a wrong value") from None
            return value

        return self._parsed(name, "", parse, secret=True)

    def networks(self, name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """Addresses and networks of a comma-separated list."""
        networks = []
        for item in self.listed(name):
            try:
                networks.append(ipaddress.ip_network(item))
            except ValueError:
                self.refuse(name, f"{item!r} is no address and no network; write 10.0.0.7 or 10.0.0.0/8")
        return networks

    def matching(self, name: str, default: str, pattern: str, remedy: str) -> str:
        def parse(value: str) -> str:
            if not re.fullmatch(pattern, value):
                raise ValueError(remedy)
            return value

        return self._parsed(name, default, parse)

    def expression(self, name: str) -> re.Pattern[bytes] | None:
        """A regular expression for bytes; None if it is unset."""

        def parse(value: str) -> re.Pattern[bytes]:
            try:
                pattern = re.compile(value.encode())
            except re.error as error:
                raise ValueError(f"use a regular expression of Python ({error})") from None
            if pattern.search(b""):
                raise ValueError("use a regular expression that does not match nothing at all")
            return pattern

        return self._parsed(name, None, parse)

    def refuse(self, name: str, remedy: str) -> None:
        """Record an error that was found outside of the methods above, such as by comparing settings."""
        self.errors.append(f"{name}: {remedy}")

    def finish(self) -> None:
        if self.errors:
            raise ConfigurationError("\n".join(f"sluice: {line}" for line in self.errors))

    def _parsed(self, name: str, default: T, parse: Callable[[str], T], *, secret: bool = False) -> T:
        value = self.text(name)
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            shown = "its value" if secret else repr(value)
            self.errors.append(f"{name}: {shown} does not fit; {error} (see docs/configuration.md)")
            return default


def parts_of(url: str) -> SplitResult:
    """Split a URL. Raises `ValueError` without any part of the URL, because a misplaced part may be a password."""
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError(
            "its host or port cannot be read; the port is a number from 1 to 65535, and in a password @ : / ? # [ ] "
            "are written as %40 %3A %2F %3F %23 %5B %5D"
        ) from None
    if parts.fragment or "@" in parts.query:
        raise ValueError("a ? or # in a password is written as %3F or %23")
    return parts


def _within(number: float, least: float, most: float) -> float:
    if not least <= number <= most:
        raise ValueError(f"use a number from {least:g} to {most:g}")
    return number
