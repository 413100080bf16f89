"""Limits that are nobody's own: an address's (`ADDRESS_*`), the default project's for who has no key (F21), and those
of the whole gateway."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from tests.kit.crowd import at_once, statuses
from tests.kit.management import changed, minted
from tests.kit.requests import CHAT, ask, refused
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, usage_of
from tests.kit.waiting import in_force, let_a_second_pass

ADDRESS_RPM = 30


@pytest.fixture(scope="module")
def open_sluice(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    """Two processes, for whoever comes."""
    with Sluice.start(
        redis=True,
        workers=2,
        upstream_url=_upstream.url,
        REQUIRE_API_KEY=False,
        ADDRESS_RPM=ADDRESS_RPM,
        LIMIT_PATIENCE_SECS=5,
    ) as server:
        yield server


def ask_from(server: Sluice, address: str, **headers: str) -> tuple[int, str]:
    """From another of this machine's own addresses: its status and message."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20, source_address=(address, 0))
    try:
        sent = {"content-type": "application/json", **headers}
        connection.request("POST", "/v1/chat/completions", json.dumps(CHAT), sent)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return answer.status, body.get("error", {}).get("message", "")
    finally:
        connection.close()


def test_an_address_has_its_own_limit_whatever_keys_it_shows(open_sluice: Sluice, upstream: Upstream):
    upstream.script = chat_answer()
    keys = [minted(open_sluice)[1] for _ in range(3)]
    told = [
        ask_from(open_sluice, "127.0.0.2", **({"authorization": f"Bearer {keys[n % 4]}"} if n % 4 < 3 else {}))
        for n in range(ADDRESS_RPM + 10)
    ]
    assert [status for status, _ in told] == [200] * ADDRESS_RPM + [429] * 10
    assert f"{ADDRESS_RPM} requests per minute on address 127.0.0.2;" in told[-1][1]
    # Neither what a client says of itself nor a new connection makes it another one.
    assert ask_from(open_sluice, "127.0.0.2", **{"x-forwarded-for": "10.0.0.1", "x-real-ip": "10.0.0.1"})[0] == 429
    assert ask_from(open_sluice, "127.0.0.3")[0] == 200
    assert len(upstream.requests) == ADDRESS_RPM + 1


@pytest.mark.elapsed
def test_who_has_no_key_is_under_the_default_project_s_limits(open_sluice: Sluice, upstream: Upstream):
    upstream.script = chat_answer(usage=usage_of(5, 5))
    [project] = open_sluice.api("GET", "/api/projects?name=default").json()["results"]
    path = f"/api/projects/{project['id']}"
    let_a_second_pass(changed(open_sluice, path, max_requests=1))
    ask_from(open_sluice, "127.0.0.4")  # the one, where the ledger knows of none before
    assert ask_from(open_sluice, "127.0.0.4")[0] == 429
    told = [ask_from(open_sluice, f"127.0.1.{n}") for n in range(1, 9)]
    assert {status for status, _ in told} == {429}
    assert "on project 'default'" in told[0][1]
    other = open_sluice.api("POST", "/api/projects", json={"name": "other"}).json()["id"]
    _, key = minted(open_sluice, project=other)
    assert ask_from(open_sluice, "127.0.1.9", authorization=f"Bearer {key}")[0] == 200
    for limits in ({"tpm": 5}, {"budget": 0}, {"rpm": 1}):
        unlimited = {"max_requests": None, "tpm": None, "budget": None, "rpm": None}
        changed(open_sluice, path, **{**unlimited, **limits})
        in_force(lambda: ask_from(open_sluice, "127.0.0.5")[0] == 429)
    changed(open_sluice, path, rpm=None)
    in_force(lambda: ask_from(open_sluice, "127.0.0.6")[0] == 200)


def test_the_gateway_s_limits_are_everybody_s(sluice: Sluice, upstream: Upstream):
    keys = [minted(sluice)[1] for _ in range(4)]
    before = len(upstream.requests)
    changed(sluice, "/api/limits/global", rpm=8)
    in_force(lambda: "x-ratelimit-limit-requests" in ask(sluice, keys[0]).headers)
    told = [answer for key in keys for answer in at_once(sluice, key, 5)]
    assert statuses(told)[429] >= 12
    answer = ask(sluice, keys[0])
    error = refused(answer, 429, "rate_limit_exceeded")
    assert "8 requests per minute on " in error["message"]
    assert len(upstream.requests) - before <= 8 + 5  # and those before the process had heard of it
    changed(sluice, "/api/limits/global", rpm=None)
    in_force(lambda: ask(sluice, keys[0]).status_code == 200)
