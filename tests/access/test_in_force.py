"""F26, P16: a change is in force within a second in every process: two workers with Redis, and a second instance on
the same database that hears of it from the database alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest

from tests.kit.management import changed, minted, new_project
from tests.kit.providers import new_provider
from tests.kit.requests import ask, refused
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.waiting import IN_FORCE_S, let_a_second_pass, soon

pytestmark = pytest.mark.elapsed


class Pair(NamedTuple):
    first: Sluice
    """Two workers with Redis."""
    second: Sluice
    """Another instance on the same database, without Redis."""

    def ask_all(self, key: str, **options: object) -> list[httpx.Response]:
        """Often enough that each of the three processes is asked."""
        servers = [self.first] * 8 + [self.second] * 2
        with ThreadPoolExecutor(len(servers)) as pool:
            return list(pool.map(lambda server: ask(server, key, **options), servers))  # type: ignore[arg-type]

    def statuses(self, key: str, **options: object) -> set[int]:
        return {answer.status_code for answer in self.ask_all(key, **options)}

    def warm(self, key: str) -> None:
        """Have the key in every process's memory."""
        for _ in range(3):
            assert self.statuses(key) == {200}


@pytest.fixture(scope="module")
def pair(services: Services, _upstream: Upstream) -> Iterator[Pair]:
    with (
        Sluice.start("postgres", redis=True, workers=2, upstream_url=_upstream.url) as first,
        Sluice.start(first.database_url, upstream_url=_upstream.url) as second,
    ):
        yield Pair(first, second)


def test_a_revoked_key_is_refused_everywhere(pair: Pair, upstream: Upstream):
    key_id, key = minted(pair.first)
    pair.warm(key)
    assert pair.first.api("POST", f"/api/keys/{key_id}/revoke").status_code == 200
    let_a_second_pass(time.monotonic())
    for answer in pair.ask_all(key):
        refused(answer, 401, "key_revoked")


def test_a_key_revoked_at_the_other_instance_is_refused_everywhere(pair: Pair, upstream: Upstream):
    key_id, key = minted(pair.second)
    pair.warm(key)
    assert pair.second.api("DELETE", f"/api/keys/{key_id}").status_code == 204
    let_a_second_pass(time.monotonic())
    for answer in pair.ask_all(key):
        refused(answer, 401, "key_revoked")


def test_a_revocation_under_load_is_never_undone(pair: Pair, upstream: Upstream):
    key_id, key = minted(pair.first)
    pair.warm(key)
    over = threading.Event()
    served_at: list[float] = []

    def keep_asking(server: Sluice) -> None:
        while not over.is_set():
            asked_at = time.monotonic()
            if ask(server, key).status_code == httpx.codes.OK:
                served_at.append(asked_at)

    threads = [threading.Thread(target=keep_asking, args=(s,)) for s in (pair.first, pair.first, pair.second)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    pair.first.api("POST", f"/api/keys/{key_id}/revoke")
    revoked_at = time.monotonic()
    time.sleep(3)
    over.set()
    for thread in threads:
        thread.join()
    assert served_at, "the load did not get through before the revocation"
    assert max(served_at) - revoked_at < IN_FORCE_S


def test_all_keys_of_a_project_are_revoked_everywhere(pair: Pair, upstream: Upstream):
    project = new_project(pair.first)
    keys = [minted(pair.first, project=project)[1] for _ in range(3)]
    for key in keys:
        pair.warm(key)
    assert pair.first.api("POST", "/api/keys/revoke", json={"project": project}).json() == {"revoked": 3}
    let_a_second_pass(time.monotonic())
    assert all(pair.statuses(key) == {401} for key in keys)


def test_an_inactive_project_is_refused_everywhere_and_served_again_when_active(pair: Pair, upstream: Upstream):
    project = new_project(pair.first)
    _, key = minted(pair.first, project=project)
    pair.warm(key)
    let_a_second_pass(changed(pair.first, f"/api/projects/{project}", is_active=False))
    for answer in pair.ask_all(key):
        refused(answer, 403, "project_inactive")
    let_a_second_pass(changed(pair.second, f"/api/projects/{project}", is_active=True))
    assert pair.statuses(key) == {200}


def test_narrowed_models_and_a_lowered_limit_count_everywhere(pair: Pair, upstream: Upstream):
    key_id, key = minted(pair.first)
    pair.warm(key)
    let_a_second_pass(changed(pair.first, f"/api/keys/{key_id}", allowed_models=["o*"]))
    assert pair.statuses(key) == {403}
    let_a_second_pass(changed(pair.first, f"/api/keys/{key_id}", allowed_models=[], rpm=1))
    statuses = [answer.status_code for answer in pair.ask_all(key) + pair.ask_all(key)]
    assert statuses.count(429) >= len(statuses) - 3  # one for each process at most


def test_a_new_key_is_served_at_once_everywhere(pair: Pair, upstream: Upstream):
    for _ in range(5):
        _, key = minted(pair.first)
        assert pair.statuses(key) == {200}


def test_every_old_token_is_dead_a_second_after_its_rotation(pair: Pair, upstream: Upstream):
    """Also in a process that is asked for the new token before it hears of the rotation: it must forget the old one."""
    key_id, key = minted(pair.first)
    old: list[str] = []
    for _ in range(5):
        pair.warm(key)
        old.append(key)
        key = pair.first.api("POST", f"/api/keys/{key_id}/rotate").json()["key"]
        assert pair.statuses(key) == {200}
    let_a_second_pass(time.monotonic())
    assert [pair.statuses(token) for token in old] == [{401}] * len(old)
    assert pair.statuses(key) == {200}


def test_a_new_provider_serves_at_once_and_its_changes_count_within_a_second(pair: Pair, upstream: Upstream):
    _, key = minted(pair.first)
    host = f"http://127.0.0.1:{upstream.port}"
    upstream.script = chat_answer()
    for provider in pair.first.api("GET", "/api/providers").json()["results"]:
        changed(pair.first, f"/api/providers/{provider['id']}", priority=10)
    provider_id = new_provider(pair.first, "fresh", f"{host}/first", models={"fresh-model": ""})
    let_a_second_pass(time.monotonic())
    assert pair.statuses(key, model="fresh-model") == {200}
    assert {received.path for received in upstream.requests} == {"/first/chat/completions"}

    let_a_second_pass(changed(pair.second, f"/api/providers/{provider_id}", base_url=f"{host}/second"))
    before = len(upstream.requests)
    assert pair.statuses(key, model="fresh-model") == {200}
    assert {received.path for received in upstream.requests[before:]} == {"/second/chat/completions"}

    changed(pair.first, f"/api/providers/{provider_id}", is_enabled=False)
    let_a_second_pass(time.monotonic())
    before = len(upstream.requests)
    pair.ask_all(key, model="fresh-model")
    assert {received.path for received in upstream.requests[before:]} == {"/v1/chat/completions"}


def test_what_one_process_mints_is_served_by_it_within_moments(sluice: Sluice, upstream: Upstream):
    """SQLite, one process: no second to wait for."""
    key_id, key = minted(sluice)
    assert ask(sluice, key).status_code == 200
    sluice.api("POST", f"/api/keys/{key_id}/revoke")
    soon(lambda: ask(sluice, key).status_code == 401, IN_FORCE_S)


def test_a_key_revoked_by_a_command_is_refused_on_sqlite(sluice: Sluice, upstream: Upstream):
    """The command is another process, and there is no Redis to tell of it."""
    key_id, key = minted(sluice)
    assert ask(sluice, key).status_code == 200
    sluice.manage("keys", "revoke", "--id", str(key_id))
    let_a_second_pass(time.monotonic())
    refused(ask(sluice, key), 401, "key_revoked")


def test_a_stream_under_way_goes_on_after_its_key_was_revoked(sluice: Sluice, upstream: Upstream):
    from tests.kit.upstream import WaitFor, chat_stream

    key_id, key = minted(sluice)
    go = threading.Event()
    script = list(chat_stream())
    upstream.answers([*script[:3], WaitFor(go), *script[3:]])
    client = sluice.client(key)
    with client.stream("POST", "/v1/chat/completions", json={"model": "m", "messages": [], "stream": True}) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        sluice.api("POST", f"/api/keys/{key_id}/revoke")
        soon(lambda: ask(sluice, key).status_code == 401, IN_FORCE_S)
        go.set()
        whole = first + b"".join(pieces)
    assert whole.endswith(b"data: [DONE]\n\n")
