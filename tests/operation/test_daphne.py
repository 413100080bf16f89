"""Daphne serves the same application: as `manage.py runserver`, and by itself."""

from __future__ import annotations

import sys

import pytest

from tests.kit.requests import ask
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer


class Runserver(Sluice):
    def command(self) -> list[str]:
        return [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}"]


class Daphne(Sluice):
    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "daphne",
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "config.asgi:application",
        ]


@pytest.mark.parametrize("kind", [Runserver, Daphne])
def test_it_serves_both_planes(services: Services, upstream: Upstream, kind: type[Sluice]):
    upstream.script = chat_answer("by daphne")
    server = kind.start(upstream_url=upstream.url, DEBUG=True)
    try:
        key = server.mint()
        answer = ask(server, key)
        assert answer.json()["choices"][0]["message"]["content"] == "by daphne"
        with server.client() as client:
            page = client.get("/admin/login/")
            assert page.status_code == 200
            assert page.headers["server"] == "daphne"
            assert client.get("/static/admin/css/base.css").status_code == 200
        assert server.rows(expect=1)[0]["outcome"] == "complete"
    finally:
        server.close()


def test_the_admin_surface_by_itself(services: Services):
    server = Daphne.start(surface="admin")
    try:
        with server.client() as client:
            assert client.get("/admin/login/").headers["server"] == "daphne"
            assert client.get("/v1/models").status_code == 404
    finally:
        server.close()
