"""F51: the key of encryption is replaced while a server serves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from cryptography.fernet import Fernet

from tests.kit.management import changed, minted
from tests.kit.providers import new_provider
from tests.kit.requests import ask
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.waiting import in_force

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
STORED = "sk-stored-canary-0123456789"


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_stored_credentials_are_used_before_while_and_after_they_are_reencrypted(
    start_sluice: StartSluice, upstream: Upstream, database: str
):
    upstream.script = chat_answer()
    server = start_sluice(database, ENCRYPTION_KEY=OLD)
    own = new_provider(server, "own", upstream.url, models={"own": ""}, api_key=STORED)
    _, key = minted(server)
    in_force(lambda: paid_with(server, upstream, key) == f"Bearer {STORED}")

    restarted(server, f"{NEW},{OLD}")
    done = Event()

    def ask_on() -> set[int]:
        statuses = set()
        while not done.is_set():
            statuses.add(ask(server, key, model="own").status_code)
        return statuses

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_on)
        try:
            assert server.manage("credentials", "reencrypt") == {"rewritten": 1, "undecryptable": []}
        finally:
            done.set()
        assert asking.result() == {200}
    assert {request.header("authorization") for request in upstream.requests} == {f"Bearer {STORED}"}
    changed(server, f"/api/providers/{own}", models={"own": "", "reread": ""})  # has it read the rows anew
    in_force(lambda: ask(server, key, model="reread").status_code == 200)
    assert paid_with(server, upstream, key) == f"Bearer {STORED}"

    restarted(server, NEW)
    assert paid_with(server, upstream, key) == f"Bearer {STORED}"
    assert STORED not in server.log_text()


def restarted(server: Sluice, keys: str) -> None:
    assert server.stop() == 0
    server.env["ENCRYPTION_KEY"] = keys
    server.launch()


def paid_with(server: Sluice, upstream: Upstream, key: str) -> str | None:
    answer = ask(server, key, model="own")
    return upstream.last.header("authorization") if answer.status_code == 200 else None
