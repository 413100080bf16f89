"""The admin site in a real browser, as an operator uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.kit import plain
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

PASSWORD = "a-weir-holds-water"


@pytest.fixture
def server(start_sluice, upstream: Upstream) -> Sluice:
    server: Sluice = start_sluice(DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    server.manage(
        "createsuperuser", "--noinput", "--username", "operator", "--email", "operator@example.org", json=False
    )
    return server


@pytest.fixture
def page(server: Sluice, services: Services, chromium: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setenv("TMPDIR", str(services.directory))  # what a killed browser leaves behind goes with it
    arguments = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(base_url=server.url)
        page.goto("/admin/")
        page.fill("#id_username", "operator")
        page.fill("#id_password", PASSWORD)
        page.click("input[type=submit]")
        yield page
        browser.close()


def test_a_key_minted_in_the_admin_is_shown_once_and_works(page: Page, server: Sluice):
    page.goto("/admin/keys/virtualkey/add/")
    page.fill("#id_name", "from-the-browser")
    page.click("input[name=_save]")
    token = page.locator("code").first.inner_text()
    assert token.startswith("sk-sluice-")
    answer = plain.post(
        f"{server.url}/v1/chat/completions",
        headers={"authorization": f"Bearer {token}"},
        json={"model": "gpt-4.1-mini", "messages": []},
    )
    assert answer.status_code == 200
    page.reload()
    expect(page.get_by_role("link", name="from-the-browser")).to_be_visible()
    assert token not in page.content()


def test_the_admin_looks_as_it_should(page: Page, server: Sluice):
    """Its style sheets are there: a page without them has a serif heading on white."""
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="Administration")).to_be_visible()
    header = page.locator("#header")
    assert header.evaluate("node => getComputedStyle(node).backgroundColor") != "rgba(0, 0, 0, 0)"
    for name in ("Virtual keys", "Projects", "Providers", "Credentials", "Requests"):
        page.get_by_role("link", name=name, exact=True).first.click()
        expect(page.locator("#content h1")).to_be_visible()
        page.go_back()


def test_requests_are_listed_in_the_admin(page: Page, server: Sluice):
    with server.client(server.mint()) as client:
        request_id = client.get("/v1/models").headers["x-request-id"]
    server.rows(expect=1)
    page.goto("/admin/usage/requestrecord/")
    expect(page.get_by_text(request_id)).to_be_visible()


def test_the_copy_button_works_over_plain_http_and_says_so(page: Page):
    """X77: browsers have no `navigator.clipboard` there."""
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined})")
    page.goto("/admin/keys/virtualkey/add/")
    page.fill("#id_name", "to-be-copied")
    page.click("input[name=_save]")
    token = page.locator("code").first.inner_text()
    page.evaluate("document.addEventListener('copy', () => { window.taken = getSelection().toString(); })")
    page.click("button[data-copies]")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("window.taken") == token


def test_a_form_that_stood_open_asks_and_so_does_a_revocation(page: Page, server: Sluice):
    """X19 and X72, with what a browser makes of the forms."""
    token = server.mint("nightly", notes="two\nlines", rpm=5, expires_at="2099-01-02T03:04:05.678Z")
    page.goto("/admin/keys/virtualkey/")
    page.get_by_role("link", name="nightly").click()
    (key,) = server.api("GET", "/api/keys").json()["results"]
    server.api("PATCH", f"/api/keys/{key['id']}", json={"is_active": False, "rpm": 50})
    page.fill("#id_tags", "night")
    page.fill("#id_rpm", "500")
    page.click("input[name=_save]")
    expect(page.get_by_text("Now in force: “50”")).to_be_visible()
    page.click("input[name=_continue]")
    expect(page.get_by_text("was changed successfully")).to_be_visible()
    told = server.api("GET", f"/api/keys/{key['id']}").json()
    assert (told["is_active"], told["rpm"], told["tags"], told["notes"]) == (False, 500, ["night"], "two\nlines")
    assert told["expires_at"] == key["expires_at"]

    page.get_by_role("link", name="Revoke…").click()
    expect(page.get_by_role("heading", name="Revoke “nightly”, for good?")).to_be_visible()
    expect(page.get_by_text("never")).to_be_visible()
    page.get_by_role("link", name="No, take me back").click()
    assert server.api("GET", f"/api/keys/{key['id']}").json()["status"] == "inactive"
    page.get_by_role("link", name="Revoke…").click()
    page.get_by_role("button", name="Yes, revoke it").click()
    expect(page.get_by_text("Revoked key “nightly”.")).to_be_visible()
    assert server.api("GET", f"/api/keys/{key['id']}").json()["status"] == "revoked"
    with server.client(token) as client:
        assert client.get("/v1/models").status_code == 401
