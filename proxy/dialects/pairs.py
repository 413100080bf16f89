"""Pairs of dialects: the one that a client speaks, and the one that its provider speaks.

If both speak the same API there is no pair, and the bytes pass unchanged. This is so for every provider today.
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.base import AnswerContext, Dialect
from proxy.wire.answer import Answer
from proxy.wire.jsonbody import JSONBody
from proxy.wire.pieces import Pieces


class NoPair(Exception):
    """The provider speaks another API, and no pair translates the request to it."""


class Pair:
    """Translates a request into the provider's dialect, and the answer back. It knows neither a request nor a server.

    A subclass is one file in this folder and one entry in `PAIRS`. All requests share the one object there, so it keeps
    nothing of a request.
    """

    def path(self, rest: str) -> str:
        """The provider's path behind its base URL. `rest` is the client's path behind `/v1`."""
        raise NotImplementedError

    def request(self, body: JSONBody, changes: dict[str, Any]) -> bytes | Pieces:
        """The body for the provider: the client's, with the members of `changes` set. Raises `NotAnObject` if the
        provider's API cannot express it.
        """
        raise NotImplementedError

    def answer(self, answer: Answer, context: AnswerContext) -> Answer:
        """An answer that wraps the provider's and translates it for the client, errors too."""
        raise NotImplementedError


PAIRS: dict[tuple[type[Dialect], str], Pair] = {}
"""By the client's dialect and the name of the provider's API (`Kind.api`)."""


def pair_of(dialect: Dialect, api: str) -> Pair:
    """The pair of a client's dialect and a provider's API that differ. Raises `NoPair`."""
    pair = PAIRS.get((type(dialect), api))
    if pair is None:
        raise NoPair
    return pair
