"""X75: a database whose `secrets.env` is lost gets no new key in silence, and goes on as before once it is back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.databases import databases
from tests.kit.health import becomes
from tests.kit.management import minted
from tests.kit.providers import new_provider
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

SECRET = "sk-stored-canary"


@pytest.mark.parametrize("database", databases)
def test_no_new_key_is_made_where_something_is_encrypted(
    database: str, start_sluice: Callable[..., Sluice], upstream: Upstream, tmp_path: Path
) -> None:
    server = start_sluice(database, upstream_url=None, SECRET_KEY="", ENCRYPTION_KEY="")
    stored = server.api("POST", "/api/credentials", json={"alias": "stored", "secret": SECRET})
    assert stored.status_code == 201
    new_provider(server, "upstream", upstream.url, credential="stored")
    _, key = minted(server)
    assert ask(server, key).status_code == 200
    server.stop()
    secrets = Path(server.env["DATA_DIR"]) / "secrets.env"
    shutil.move(secrets, tmp_path / "kept")
    server.launch()
    assert "ENCRYPTION_KEY=" not in secrets.read_text()
    assert "ENCRYPTION_KEY does not open the stored credentials stored" in server.log_text()
    document = becomes(server, "providers", "degraded", "degraded")
    assert "does not open" in document["components"]["providers"]["detail"]
    assert ask(server, key).status_code == 503
    refused = server.api("POST", "/api/credentials", json={"alias": "another", "secret": SECRET})
    assert (refused.status_code, "ENCRYPTION_KEY" in refused.text) == (400, True)
    server.stop()
    shutil.move(tmp_path / "kept", secrets)
    server.launch()
    assert ask(server, key).status_code == 200
    assert dict(upstream.requests[-1].headers)["authorization"] == f"Bearer {SECRET}"


def test_a_key_is_made_again_once_nothing_is_encrypted(start_sluice: Callable[..., Sluice], upstream: Upstream) -> None:
    server = start_sluice(upstream_url=None, SECRET_KEY="", ENCRYPTION_KEY="")
    made = server.api("POST", "/api/credentials", json={"alias": "stored", "secret": SECRET}).json()
    secrets = Path(server.env["DATA_DIR"]) / "secrets.env"
    secrets.unlink()
    assert server.manage("credentials", "list")
    assert "ENCRYPTION_KEY=" not in secrets.read_text()
    assert server.api("DELETE", f"/api/credentials/{made['id']}").status_code == 204
    server.manage("credentials", "list")
    assert secrets.read_text().count("ENCRYPTION_KEY=") == 1
    assert secrets.stat().st_mode & 0o777 == 0o600
