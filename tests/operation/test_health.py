"""F10: health, on every surface, and what each surface serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kit import plain
from tests.kit.ledger import row_of
from tests.kit.requests import ask
from tests.kit.services import Services
from tests.kit.sluice import Sluice

HEALTH = ["/health", "/healthz", "/live", "/ready", "/v1/health"]


@pytest.fixture(scope="module")
def surfaces(services: Services) -> Iterator[dict[str, Sluice]]:
    with ExitStack() as held:
        yield {
            surface: held.enter_context(Sluice.start(simulated=True, surface=surface))
            for surface in ("all", "proxy", "admin")
        }


@pytest.mark.parametrize("surface", ["all", "proxy", "admin"])
@pytest.mark.parametrize("path", HEALTH)
def test_health_is_told_without_a_key(surfaces: dict[str, Sluice], surface: str, path: str):
    client = surfaces[surface].client()
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.json()["version"]
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("surface", ["all", "proxy", "admin"])
def test_metrics_are_told_on_every_surface(surfaces: dict[str, Sluice], surface: str):
    assert "llm_proxy_active_requests" in surfaces[surface].metrics()


def test_a_surface_serves_its_own_paths_alone(surfaces: dict[str, Sluice]):
    key = surfaces["proxy"].mint()
    assert ask(surfaces["proxy"], key).status_code == 200
    for path in ("/admin/", "/static/x", "/"):
        answer = plain.get(surfaces["proxy"].url + path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = plain.get(surfaces["proxy"].url + "/api/keys")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    answer = ask(surfaces["admin"], surfaces["admin"].mint())
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert surfaces["admin"].api("GET", "/api/keys").status_code == 200
    assert surfaces["all"].api("GET", "/api/keys").status_code == 200
    assert ask(surfaces["all"], surfaces["all"].mint()).status_code == 200


def test_health_leaves_no_row(surfaces: dict[str, Sluice]):
    server = surfaces["all"]
    row_of(server, ask(server, None).headers["x-request-id"])  # and so those of all before it
    before = len(server.rows())
    for path in HEALTH:
        server.client().get(path)
    row_of(server, ask(server, None).headers["x-request-id"])
    assert len(server.rows()) == before + 1
