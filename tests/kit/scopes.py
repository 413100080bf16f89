"""Scopes with limits, and a clock that tests set."""

from __future__ import annotations

from typing import Any

from keys.limits import Limits, Scope
from strict.units import PICO

USD = PICO
NOON = 1_780_315_200.0
"""2026-06-01 12:00 UTC, a Monday."""


def scope(kind: str = "key", id_: str = "1", **limits: Any) -> Scope:
    return Scope(kind, id_, f"{kind} {id_!r}", Limits(**limits))


class Clock:
    """Unix time in whole microseconds. It passes only when `pass_by` is called."""

    def __init__(self, now: float = NOON) -> None:
        self.us = round(now * 1e6)

    def __call__(self) -> float:
        return self.us / 1e6

    def pass_by(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)
