"""Clients that send requests without a pause, whatever happens to the servers; a provider that numbers its answers."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.kit.databases import query
from tests.kit.management import minted
from tests.kit.requests import CHAT
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, chat_answer, usage_of

CLIENTS = 12
AGAIN_AFTER_S = 0.02
PATIENCE_S = 20
PROMPT = 3


class Numbered:
    """A provider whose n-th answer has n completion tokens, so that each answer can be recognized."""

    def __init__(self) -> None:
        self.given = 0
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> Script:
        with self._lock:
            self.given += 1
            return chat_answer(usage=usage_of(PROMPT, self.given))


class Load:
    """Clients with a key of their own. `whole` maps the request ids of complete answers to the answers' numbers."""

    def __init__(self, servers: Sequence[Sluice], **body: Any) -> None:
        self.key_id, self._key = minted(servers[0])
        self.whole: dict[str, int] = {}
        self.statuses: Counter[int] = Counter()
        self._served: set[int] = set()
        self._servers = servers
        self._body = json.dumps({**CHAT, **body})
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Run the clients. At the end, every request that was sent has been answered, or has failed."""
        self._over.clear()
        with ThreadPoolExecutor(CLIENTS) as pool:
            asking = [pool.submit(self._keep_asking, n, self._servers[n % len(self._servers)]) for n in range(CLIENTS)]
            try:
                yield self
            finally:
                self._over.set()
        for one in asking:
            one.result()

    def wait_for(self, more: int) -> None:
        """Wait for `more` answers, and for one to each client: then each worker that serves one knows the key."""
        enough = len(self.whole) + more
        assert processes.poll(lambda: len(self.whole) >= enough and len(self._served) == CLIENTS, timeout=30), (
            len(self.whole),
            self._served,
        )

    def _keep_asking(self, number: int, server: Sluice) -> None:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
            try:
                while not self._over.is_set():
                    connection.request("POST", "/v1/chat/completions", self._body, headers)
                    answer = connection.getresponse()
                    told = json.loads(answer.read())
                    self.statuses[answer.status] += 1
                    if answer.status == http.client.OK:
                        self.whole[answer.headers["x-request-id"]] = told["usage"]["completion_tokens"]
                        self._served.add(number)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                self._over.wait(AGAIN_AFTER_S)  # the server has been killed, and is not up again yet
            finally:
                connection.close()


ROWS = "SELECT id, completion_tokens, cost_picousd FROM usage_requestrecord WHERE key_id = {}"
TOTALS = "SELECT requests, cost_picousd FROM usage_scopetotal WHERE kind = 'key' AND slot = -1 AND ident = '{}'"
USES = "SELECT total_requests FROM keys_virtualkey WHERE id = {}"


def the_books_balance(server: Sluice, load: Load, provider: Numbered, *, exactly: bool, within: float = 30) -> None:
    """Check that every complete answer has its row, that no answer has two, and that the totals are the rows' sums.

    `exactly`: no request was cut, so the rows must have all answers that the provider gave.
    """
    rows: dict[str, dict[str, Any]] = {}

    def ask(question: str) -> list[dict[str, Any]]:
        return query(server.database_url, question.format(load.key_id))

    def sums() -> tuple[int, int, int]:
        (totals,) = ask(TOTALS) or [{"requests": 0, "cost_picousd": 0}]
        (uses,) = ask(USES)
        return int(totals["requests"]), int(totals["cost_picousd"]), int(uses["total_requests"])

    def all_there() -> bool:
        rows.clear()
        rows.update({row["id"]: row for row in ask(ROWS)})
        spent = sum(row["cost_picousd"] or 0 for row in rows.values())
        return load.whole.keys() <= rows.keys() and sums() == (len(rows), spent, len(rows))

    assert processes.poll(all_there, timeout=within, every=0.1), (
        f"{len(load.whole.keys() - rows.keys())} rows missing of {len(load.whole)}; {len(rows)} rows, {sums()}\n"
        f"{server.log_text()[-3000:]}"
    )
    assert {id_: rows[id_]["completion_tokens"] for id_ in load.whole} == load.whole
    numbers = [row["completion_tokens"] for row in rows.values() if row["completion_tokens"] is not None]
    assert len(numbers) == len(set(numbers)), "an answer has two rows"
    assert max(numbers, default=0) <= provider.given
    if exactly:
        assert load.statuses.keys() == {http.client.OK}, load.statuses
        assert len(rows) == len(load.whole) == provider.given
        assert sum(numbers) == provider.given * (provider.given + 1) // 2
