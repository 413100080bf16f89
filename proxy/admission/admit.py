"""Step 5: take one reservation from all limits and budgets that apply, or nothing. `account` settles it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from keys.limits import Ask, Limits, Scope, Scopes, Unknown
from keys.limits.base import LimitsBackend
from proxy.admission import media
from proxy.admission.baselines import Baselines
from proxy.admission.embedding_quota import quota_of
from proxy.admission.estimate import MOST_TOKENS, answer_count, inputs_of, most_output, prompt_count
from proxy.admission.model_prices import prices_of
from proxy.admission.prompt import Prompt, read_prompt
from proxy.configuration.snapshot import Snapshot
from proxy.dialects.words import Words
from proxy.endpoints import EMBEDDINGS
from proxy.exchange import Exchange
from proxy.wire.jsonbody import JSONBody
from usage.prices.price import Price

ONE_REQUEST = Ask()
GUESSED_OUTPUT = 1_000
"""Tokens of an answer whose request names no limit: a guess, for limits on tokens per minute."""

GUESSED_MOST_OUTPUT = 131_072
"""The same for budgets. Less would let too many requests run at once, and no model is known to write more."""

KEPT = 10_000
"""Keys (or pairs of key and address, if addresses are limited) whose scopes are cached."""

GUESSED_MOST_PROMPT = 1_048_576
"""Tokens of a prompt that Sluice cannot see whole, for budgets, if the context window of the model is not known."""

READ_AT_ONCE_BYTES = 256 * 1024
"""A longer prompt is counted off the event loop."""


class Admission:
    """Takes reservations from the limits of this process, or from those shared through Redis."""

    def __init__(self, limits: LimitsBackend, baselines: Baselines, of_address: Limits) -> None:
        self._limits = limits
        self._baselines = baselines
        self._of_address = of_address if of_address != Limits() else None
        self._applying: dict[object, tuple[Scopes, Applying]] = {}
        """By key, or by project if there is no key. An entry is valid only for its global scopes."""

    async def admit(self, exchange: Exchange, snapshot: Snapshot) -> None:
        """Sets `reservation`. Raises `LimitExceeded`; then nothing was taken."""
        applying = self._applying_to(exchange, snapshot)
        if exchange.endpoint is EMBEDDINGS:
            exchange.counts_as = inputs_of(exchange.body)
        if applying.scopes:
            ask = ONE_REQUEST
            if applying.counts_tokens:
                if exchange.reserved_bytes > READ_AT_ONCE_BYTES:
                    prompt = await read_long_prompt(exchange.body, exchange.dialect.words)
                else:
                    prompt = read_prompt(exchange.body, exchange.dialect.words)
                ask = ask_of(exchange, applying, snapshot, prompt)
            elif exchange.counts_as != 1:
                ask = Ask(requests=exchange.counts_as)
            while True:
                try:
                    now = time.time()
                    reservation = self._limits.reserve_at_once(applying.scopes, ask, now)
                    exchange.reservation = reservation or await self._limits.reserve(applying.scopes, ask, now)
                    break
                except Unknown as unknown:
                    await self._baselines.load(unknown.needs, unknown.timeout_s)
        exchange.admitted = True

    def _applying_to(self, exchange: Exchange, snapshot: Snapshot) -> Applying:
        """The limited scopes that this request counts for."""
        who = exchange.key or exchange.project
        everyone = snapshot.global_scopes
        name: object = who
        if self._of_address is not None or exchange.endpoint is EMBEDDINGS:
            client = exchange.scope.get("client")
            name = name, exchange.endpoint is EMBEDDINGS, client and client[0]
        kept = self._applying.get(name)
        if kept is None or kept[0] is not everyone:
            if len(self._applying) >= KEPT:
                self._applying.clear()
            kept = self._applying[name] = everyone, applying(self._scopes_of(exchange, everyone))
        return kept[1]

    def _scopes_of(self, exchange: Exchange, everyone: Scopes) -> Scopes:
        key, project = exchange.key, exchange.project
        scopes: Scopes = ()
        if key is not None:
            scopes = key.scopes
        elif project is not None and project.scope is not None:
            scopes = (project.scope,)
        if exchange.endpoint is EMBEDDINGS and (quota := quota_of(key)) is not None:
            scopes += (quota,)
        scopes += everyone
        if self._of_address is not None and (client := exchange.scope.get("client")):
            scopes += (address_scope(client[0], self._of_address),)
        return scopes


async def read_long_prompt(body: JSONBody | None, words: Words) -> Prompt:
    if body is not None and body.facts is not None:
        return Prompt(*body.facts.prompt)
    return await asyncio.to_thread(read_prompt, body, words)


class Applying(NamedTuple):
    """The scopes that limit a request, and what follows from their limits."""

    scopes: Scopes
    counts_tokens: bool
    """Whether tokens must be estimated to know if there is room."""
    guessed_output: int
    """Tokens of an answer whose request names no limit. At most a quarter of each limit on tokens per minute, because a
    guess alone must not make a request too large for its limit."""


def applying(scopes: Scopes) -> Applying:
    limits = [scope.limits for scope in scopes]
    counts_tokens = any(each.tpm is not None or each.budget is not None for each in limits)
    return Applying(scopes, counts_tokens, guessed_output([each.tpm for each in limits if each.tpm is not None]))


def guessed_output(tokens_a_minute: Sequence[int]) -> int:
    guess = GUESSED_OUTPUT
    for tpm in tokens_a_minute:
        if tpm < 4 * guess:
            guess = tpm // 4
    return guess


@lru_cache(maxsize=10_000)
def address_scope(host: str, limits: Limits) -> Scope:
    return Scope("address", host, f"address {host}", limits)


def ask_of(exchange: Exchange, applying: Applying, snapshot: Snapshot, prompt: Prompt) -> Ask:
    """What to reserve: tokens by the request's text and the output that it asks for, and what they cost at most."""
    output = most_output(exchange.dialect, exchange.body)
    exchange.reserved_tokens = tokens = (prompt.tokens or 0) + (applying.guessed_output if output is None else output)
    if exchange.body is None and not exchange.endpoint.media:
        return Ask(exchange.counts_as, tokens, None)
    cost = cost_at_most(exchange, snapshot, prompt, output)
    return Ask(exchange.counts_as, tokens, cost, cost is not None and prompt.most is not None and output is not None)


def cost_at_most(exchange: Exchange, snapshot: Snapshot, prompt: Prompt, output: int | None) -> int | None:
    """Picodollars at the most expensive provider that may answer; None if no price is known."""
    dearest = None
    for price in prices_of(exchange, snapshot).per_provider:
        if exchange.endpoint.media:
            cost = media.cost_at_most(exchange, price)
        else:
            cost = price.estimate(
                most_read(exchange, prompt, price), most_unlimited_output(exchange, price) if output is None else output
            )
        if cost is not None and (dearest is None or cost > dearest):
            dearest = cost
    return dearest


def most_read(exchange: Exchange, prompt: Prompt, price: Price) -> int:
    """The most tokens that the model reads. If Sluice cannot see all of the prompt, this is the model's context window
    for each prompt.
    """
    if prompt.most is not None:
        return prompt.most
    assert exchange.body is not None
    prompts = max(exchange.counts_as, prompt_count(exchange.body))
    return min(max(prompt.tokens or 0, (price.window or GUESSED_MOST_PROMPT) * prompts), MOST_TOKENS)


def most_unlimited_output(exchange: Exchange, price: Price) -> int:
    """The most tokens of all answers to a request that names no limit for them."""
    assert exchange.body is not None
    most = min(price.window or GUESSED_MOST_OUTPUT, GUESSED_MOST_OUTPUT)
    return min(most * answer_count(exchange.body), MOST_TOKENS)
