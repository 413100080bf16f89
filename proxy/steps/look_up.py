"""Step 6: whether the answer is known already.

It follows admission, because a hit is a request like any other, and precedes the choice of a provider, which a hit does
not need.
"""

from __future__ import annotations

import time
from functools import lru_cache

from cache.digest import NoDigest, digest_of
from cache.directives import Directives, directives_of
from cache.entry import Entry
from cache.replay import StoredAnswer
from cache.responses import OFF, OPT_IN, ResponseCache
from providers.catalog import Access, Catalog, CredentialRecord
from proxy.attempt import NO_ACCESS, Attempt
from proxy.caching import BYPASS, HIT, MISS, Caching
from proxy.components import Components
from proxy.errors import NotCached
from proxy.exchange import Exchange
from proxy.steps.conditional import matches
from proxy.steps.other_form import in_other_form
from proxy.wire.jsonbody import JSONBody

NEUTRAL = frozenset(b"accept content-encoding user-agent traceparent tracestate baggage".split())
NEUTRAL_PREFIXES = (b"x-stainless-", b"x-cache-", b"idempotency-")
"""Headers that go to the provider and do not change its answer: they differ between the SDKs and from call to call.

`content-type` is none of them: its charset says how the body is read.
"""


async def look_up(exchange: Exchange, components: Components) -> StoredAnswer | None:
    """A stored answer; None where a provider is to be asked. Sets `cache` and `cache_lines`, which the answer tells,
    and `caching` where what the provider answers may be stored. Raises `NotCached`.
    """
    cache = components.cache
    if cache is None or not exchange.endpoint.is_cached:
        exchange.cache = BYPASS
        return None
    project = exchange.project
    policy = (project.cache_policy if project is not None else None) or cache.default_policy
    fields = exchange.head.fields
    if policy == OFF or (policy == OPT_IN and b"cache-control" not in fields):
        exchange.cache = BYPASS
        return None
    wishes = directives_of(fields.get(b"cache-control", b""), fields.get(b"pragma", b""))
    if policy == OPT_IN and not wishes.asks:
        exchange.cache = BYPASS
        return None
    digest = None if wishes.no_store or skips(exchange) else digest_for(exchange)
    if digest is None:
        exchange.cache = BYPASS
        exchange.cache_lines = b"cache-status: Sluice; fwd=bypass\r\n"
        if wishes.only_if_cached:
            raise not_cached()
        return None
    now = time.time()
    newest_purge = cache.purges.newest  # what comes from the provider is older than any later one
    entry = None if wishes.no_cache else await find(exchange, cache, digest, now)
    if entry is not None and (wishes.max_age_s is None or entry.age_s(now) <= wishes.max_age_s):
        answer = stored_answer(exchange, cache, components.snapshot.catalog, digest, entry, now)
        if answer is not None:
            return answer
    if wishes.only_if_cached:
        raise not_cached()
    exchange.cache = MISS
    exchange.cache_lines = b"x-cache-key: %s\r\nx-cache-hit: 0\r\ncache-status: Sluice; fwd=%s\r\n" % (
        digest.encode(),
        b"request" if wishes.no_cache else b"uri-miss" if entry is None else b"stale",
    )
    exchange.caching = Caching(digest, ttl_s(exchange, cache, wishes), cache, not wishes.no_cache, newest_purge)
    return None


async def find(exchange: Exchange, cache: ResponseCache, digest: str, now: float) -> Entry | None:
    """The stored answer, changed into the form that the client asked for where only the other one is there.

    Only what is not in memory is waited for.
    """
    entry = in_memory(exchange, cache, digest, now)
    if entry is None and cache.tiers:
        found = await cache.find_below(digest)
        entry = found.get(exchange.stream) or changed(exchange, cache, digest, found.get(not exchange.stream))
        if entry is None:
            entry = in_memory(exchange, cache, digest, now)  # another request may have stored it meanwhile
    return entry


def in_memory(exchange: Exchange, cache: ResponseCache, digest: str, now: float) -> Entry | None:
    entry = cache.memory.get((digest, exchange.stream), now)
    return entry or changed(exchange, cache, digest, cache.memory.get((digest, not exchange.stream), now))


def changed(exchange: Exchange, cache: ResponseCache, digest: str, other: Entry | None) -> Entry | None:
    entry = None if other is None else in_other_form(other, exchange.dialect)
    if entry is not None:
        cache.memory.put((digest, exchange.stream), entry)
    return entry


def not_cached() -> NotCached:
    return NotCached("not_cached", "The cache has no answer for this request, and the request says only-if-cached.")


def skips(exchange: Exchange) -> bool:
    """The client wants nothing of the cache, or the answer is none to anybody else."""
    body = exchange.body
    return (
        exchange.skips_cache
        or body is None
        or not exchange.model
        or body.facts is not None  # a long one, which is not read on the event loop
        or not exchange.dialect.is_repeatable(body)
        or (shares_with_others(exchange) and is_of_a_project(exchange, body))
        or exchange.head.fields.get(b"x-cache-skip", b"").lower() in (b"1", b"true", b"yes")
    )


def digest_for(exchange: Exchange) -> str | None:
    """None where the request has no name that is safe, or nobody whose it is."""
    scope = scope_of(exchange)
    body = exchange.body
    if scope is None or body is None:
        return None
    try:
        headers = telling_lines(exchange.head.lines_above())
        return digest_of(scope, exchange.endpoint.label, exchange.query.encode(), headers, body.encode())
    except (NoDigest, ValueError):
        return None


def scope_of(exchange: Exchange) -> bytes | None:
    """Who may see the answer, from what the gateway knows of the key, and nothing that the client sends."""
    project, key = exchange.project, exchange.key
    if project is None:
        return None
    if shares_with_others(exchange):
        return b"shared"
    if project.cache_scope == "key":  # which may have been another project's
        return None if key is None else b"key %d of %d" % (key.id, project.id)
    return b"project %d" % project.id


def shares_with_others(exchange: Exchange) -> bool:
    return exchange.project is not None and exchange.project.cache_scope == "shared"


def is_of_a_project(exchange: Exchange, body: JSONBody) -> bool:
    """Whether the provider stores the answer, or it tells of what the provider stores: that belongs to one project."""
    words = exchange.endpoint.names_stored
    return exchange.dialect.is_stored(body) or (bool(words) and body.may_name(words))


@lru_cache(maxsize=1024)
def telling_lines(lines: bytes) -> bytes:
    """The header lines that can change an answer, in one order."""
    told = []
    for line in lines.split(b"\r\n"):
        name = line.partition(b":")[0]
        if line and name not in NEUTRAL and not name.startswith(NEUTRAL_PREFIXES):
            told.append(line)
    return b"\r\n".join(sorted(told))


def stored_answer(
    exchange: Exchange, cache: ResponseCache, catalog: Catalog, digest: str, entry: Entry, now: float
) -> StoredAnswer | None:
    """The entry as the answer to this request; None where it is none."""
    if exchange.stream and not (exchange.hides_usage or entry.tells_usage):
        return None
    attempt = maker_of(
        entry.provider_id, entry.model, entry.credential, exchange, catalog, is_stored=bool(entry.stored_id)
    )
    if attempt is None:
        return None
    attempt.asked_usage = entry.asked_usage
    exchange.begin(attempt)
    exchange.caching = exchange.shared_call = None
    cache.count_hit(digest, entry, now)
    return replay(exchange, digest, entry, now)


def maker_of(
    provider_id: int, model: str, credential: str, exchange: Exchange, catalog: Catalog, *, is_stored: bool
) -> Attempt | None:
    """An attempt, which is never sent, at who made an answer, where they would still be asked. Else a provider that was
    switched off, or a model's name that now leads elsewhere, would go on answering from the cache.
    """
    for provider, name in catalog.candidates(exchange.model):
        if provider.id == provider_id and name == model:
            if is_stored and not catalog.has(credential, provider):
                return None  # nobody could go on with it
            return Attempt(provider, name, ("", ""), access_of(credential, provider_id))
    return None


def access_of(alias: str, provider_id: int) -> Access:
    """With which credential an answer was made. What goes on with the answer needs the same one."""
    return Access(CredentialRecord(alias, provider_id, None), b"", b"") if alias else NO_ACCESS


def ttl_s(exchange: Exchange, cache: ResponseCache, wishes: Directives) -> int:
    """How long an answer to this request is stored: what the request says, no longer than its project allows."""
    project = exchange.project
    allowed = (project.cache_ttl_s if project is not None else None) or cache.default_ttl_s
    return min(wishes.max_age_s, allowed) if wishes.max_age_s else allowed


def replay(exchange: Exchange, digest: str, entry: Entry, now: float) -> StoredAnswer:
    exchange.cache, exchange.owns_answer = HIT, not shares_with_others(exchange)
    tag = tag_of(exchange, entry)
    exchange.cache_lines = (
        b"x-cache-key: %s\r\nx-cache-hit: 1\r\nage: %d\r\ncache-status: Sluice; hit; ttl=%d\r\netag: %s\r\n"
        % (digest.encode(), entry.age_s(now), entry.expires_at - now, tag)
    )
    exchange.client_has_answer = b"if-none-match" in exchange.head.fields and matches(exchange, tag)
    timed = exchange.stream and exchange.head.fields.get(b"x-cache-replay", b"").lower() == b"timed"
    return StoredAnswer((digest, exchange.stream), entry, timed=timed)


def tag_of(exchange: Exchange, entry: Entry) -> bytes:
    """Whoever asks the same in the same form gets the same bytes of one answer of a provider."""
    form = b"s" if entry.is_stream else b"p"
    return b'"%s%s%s"' % (entry.about.request_id.encode(), form, b"h" if exchange.hides_usage else b"")
