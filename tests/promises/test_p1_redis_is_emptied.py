"""P1 under a fault: Redis loses all that it knew, under load. Budgets go on from the ledger.

What ran at that moment may not be counted in time, and no more than that: B, e, and what ran at each flush.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.kit.accounts import new_crew
from tests.kit.ledger import all_agree
from tests.kit.management import set_price, usd
from tests.kit.sluice import StartSluice
from tests.kit.spending import BOUNDED, COST, Books, post, until_exhausted
from tests.kit.upstream import Upstream

CLIENTS = 16
REQUESTS = 200
FLUSHED_AT = (0.3, 0.6, 0.9)
"""Of the budget."""


def test_a_flush_under_load_forgets_no_spending(start_sluice: StartSluice, upstream: Upstream):
    first = start_sluice("postgres", redis=True, workers=2)
    second = start_sluice(first.database_url, redis=first.redis_url, workers=2)
    set_price(first)
    assert first.redis is not None
    redis = first.redis.client()
    books = upstream.script = Books(takes_s=0.05)
    crew = new_crew(first, key={"budget": usd(REQUESTS * COST)}, project={"budget": usd(REQUESTS * COST)})
    stop = threading.Event()

    def answered(part: float) -> bool:
        return books.answered >= part * REQUESTS

    def load(number: int) -> None:
        while not stop.is_set():
            if post((first, second)[number % 2], crew.token, **BOUNDED).status == 429:
                stop.wait(0.02)

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(load, number) for number in range(CLIENTS)]
        try:
            for part in FLUSHED_AT:
                upstream.wait_until(partial(answered, part), 20)
                redis.flushall()
        finally:
            stop.set()
        for future in running:
            future.result()
    redis.close()
    until_exhausted([first, second], crew.token, first=CLIENTS, **BOUNDED)
    assert REQUESTS * COST <= books.owed <= (REQUESTS + len(FLUSHED_AT) * CLIENTS + 1) * COST, books.answered
    all_agree(first, crew, books.owed, ["key", "project"])
