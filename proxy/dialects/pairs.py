"""Pairs of dialects: what a client speaks, and what its provider speaks.

Where both speak the same API there is no pair, and the bytes pass untouched. That is every provider of today.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.base import AnswerContext, Dialect
from proxy.wire.answer import Answer
from proxy.wire.jsonbody import JSONBody
from proxy.wire.pieces import Pieces


class NoPair(Exception):
    """The provider speaks another API, and nobody translates to it what was asked."""


class Pair:
    """Translates a request into the provider's dialect, and the answer back. It knows neither a request nor a server.

    A subclass is one file in this folder and one entry in `PAIRS`. An attempt uses it anew each time, so it keeps
    nothing of one request.
    """

    def path(self, rest: str) -> str:
        """Where the provider is asked, as what follows its base URL, for what follows `/v1` in the client's path."""
        raise NotImplementedError

    def request(self, body: JSONBody, changes: dict[str, Any]) -> bytes | Pieces:
        """The body for the provider: the client's, with these members set. What cannot be said raises `NotAnObject`."""
        raise NotImplementedError

    def answer(self, answer: Answer, context: AnswerContext) -> Answer:
        """An answer that reads the provider's and gives the client's, also of an error."""
        raise NotImplementedError


PAIRS: dict[tuple[type[Dialect], str], Pair] = {}
"""By the client's dialect and the name of the provider's API (`Kind.api`)."""


def pair_of(dialect: Dialect, api: str) -> Pair:
    """For two that differ. Raises `NoPair`."""
    pair = PAIRS.get((type(dialect), api))
    if pair is None:
        raise NoPair
    return pair
