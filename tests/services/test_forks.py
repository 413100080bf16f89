"""A server under test is a fork of a Python that has loaded the code, where that is the same as to load it anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.sluice import Sluice, StartSluice


def command_of(server: Sluice) -> str:
    assert server.process is not None
    return Path(f"/proc/{server.process.pid}/cmdline").read_text().replace("\0", " ")


@pytest.mark.parametrize(
    "settings", [{}, {"redis": True, "surface": "proxy"}, {"KEY_PREFIX": "team-", "BUDGET_TIME_ZONE": "Asia/Tokyo"}]
)
def test_a_server_has_its_own_settings_and_the_code_of_all(start_sluice: StartSluice, settings: dict[str, object]):
    first, second = start_sluice(**settings), start_sluice()
    for server, prefix in ((first, str(settings.get("KEY_PREFIX", "sk-sluice-"))), (second, "sk-sluice-")):
        assert "prefork.py" in command_of(server)
        assert "loaded" in command_of(server)
        assert server.mint(name="one of its own").startswith(prefix)
        assert [key["name"] for key in server.manage("keys", "list")["results"]] == ["one of its own"]


def test_a_server_whose_settings_change_the_code_loads_it_anew(start_sluice: StartSluice):
    server = start_sluice(DEBUG=True)
    assert "prefork.py" not in command_of(server)
    assert "manage.py serve" in command_of(server)
    assert server.mint()
