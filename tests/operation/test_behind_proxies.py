"""X33, X36: what trusted proxies say counts, what others say does not; metrics are for this host or for a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.kit import plain
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.requests import CHAT
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer
from tests.kit.waiting import soon

CLIENT = "203.0.113.9"
TOLD = {
    "x-forwarded-for": CLIENT,
    "x-forwarded-proto": "https",
    "x-forwarded-host": "llm.example.org",
    "x-forwarded-prefix": "/sluice",
}
SETTINGS: dict[str, Any] = {"ALLOWED_HOSTS": "localhost,127.0.0.1,llm.example.org", "METRICS_TOKEN": "for-prometheus"}


@pytest.fixture(scope="module")
def behind(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with Sluice.start(upstream_url=_upstream.url, TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8", **SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def open_to_all(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with Sluice.start(upstream_url=_upstream.url, TRUSTED_PROXIES="192.0.2.1", **SETTINGS) as server:
        yield server


def list_keys(server: Sluice, headers: dict[str, str]) -> httpx.Response:
    for _ in range(2 - len(server.api("GET", "/api/keys").json()["results"])):
        server.mint()
    return server.api("GET", "/api/keys", params={"page_size": 1}, headers=headers)


@pytest.mark.parametrize(
    "headers, address",
    [
        ({"x-forwarded-for": CLIENT}, CLIENT),
        ({"x-forwarded-for": f"198.51.100.1, {CLIENT}, 10.1.2.3"}, CLIENT),
        ({"x-forwarded-for": "10.1.2.3, 10.1.2.4"}, "10.1.2.3"),
        ({"x-forwarded-for": f"{CLIENT}:4711"}, CLIENT),
        ({"x-forwarded-for": "[2001:db8::9]:4711"}, "2001:db8::9"),
        ({"x-forwarded-for": f"{CLIENT}, nonsense"}, "127.0.0.1"),
        ({"forwarded": f'for="{CLIENT}:80";proto=https, for=10.1.2.3'}, CLIENT),
        ({"forwarded": 'for="[2001:db8::9]:80"'}, "2001:db8::9"),
        ({"forwarded": f"for={CLIENT}", "x-forwarded-for": f"{CLIENT}"}, CLIENT),
        ({"forwarded": "for=198.51.100.1", "x-forwarded-for": CLIENT}, "127.0.0.1"),
        ({}, "127.0.0.1"),
    ],
)
def test_the_rightmost_hop_that_is_not_trusted_is_the_client(
    behind: Sluice, upstream: Upstream, headers: dict[str, str], address: str
):
    upstream.answers(chat_answer())
    client = behind.client(behind.mint(), headers=headers)
    ids = [client.post("/v1/chat/completions", json=CHAT).headers["x-request-id"] for _ in range(2)]
    found: list[str] = []

    def in_the_ledger() -> bool:
        found[:] = [row["ip"] for row in behind.rows() if row["id"] in ids]
        return len(found) == 2

    soon(in_the_ledger)
    assert found == [address] * 2
    assert not any(name.lower().startswith(("x-forwarded", "forwarded")) for name, _ in upstream.last.headers)


def test_links_cookies_and_pages_are_as_the_client_reached_the_proxy(behind: Sluice):
    answer = list_keys(behind, TOLD)
    assert answer.json()["next"].startswith("https://llm.example.org/sluice/api/keys?")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    page = plain.get(f"{behind.url}/admin/login/", headers=TOLD)
    assert page.status_code == 200
    assert "; secure" in page.headers["set-cookie"].lower()
    sources = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text)
    assert sources
    assert all(source.startswith("/sluice/") for source in sources), sources
    sent = plain.get(f"{behind.url}/admin/", headers=TOLD)
    assert sent.headers["location"] == "/sluice/admin/login/?next=/sluice/admin/"
    # The next request is another proxy's, or none's: nothing was kept of this one.
    assert "/sluice/" not in plain.get(f"{behind.url}/admin/login/").text


def test_what_is_done_behind_a_prefix_is_in_the_audit_log_with_its_address(behind: Sluice):
    behind.api("POST", "/api/projects", json={"name": "behind-a-proxy"}, headers=TOLD)
    entry = behind.api("GET", "/api/audit").json()["results"][0]
    assert (entry["target_kind"], entry["ip"]) == ("project", CLIENT)


def test_what_an_untrusted_peer_says_of_itself_does_not_count(open_to_all: Sluice, upstream: Upstream):
    upstream.answers(chat_answer())
    told = {**TOLD, "forwarded": f"for={CLIENT};proto=https;host=llm.example.org"}
    assert open_to_all.client(open_to_all.mint(), headers=told).post("/v1/chat/completions", json=CHAT).is_success
    [row] = open_to_all.rows(expect=1)
    assert row["ip"] == "127.0.0.1"
    answer = list_keys(open_to_all, told)
    assert answer.json()["next"].startswith(f"{open_to_all.url}/api/keys?")
    assert "strict-transport-security" not in answer.headers
    assert "; secure" not in plain.get(f"{open_to_all.url}/admin/login/", headers=told).headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "headers", [TOLD, {"forwarded": "for=127.0.0.1"}, {"x-real-ip": "127.0.0.1"}, {"via": "1.1 x"}]
)
def test_metrics_are_told_to_this_host_or_for_a_token_alone(
    behind: Sluice, open_to_all: Sluice, headers: dict[str, str]
):
    for server in (behind, open_to_all):
        url = f"{server.url}/metrics"
        assert plain.get(url).status_code == 200
        for wrong in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic for-prometheus"}):
            refused = plain.get(url, headers={**headers, **wrong})
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "llm_proxy" not in refused.text
        for token in ("for-prometheus", MANAGEMENT_TOKEN):
            told = plain.get(url, headers={**headers, "authorization": f"Bearer {token}"})
            assert told.status_code == 200
