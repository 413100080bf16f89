"""Providers of a running server, created through its management API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from tests.kit.clients import client_of
from tests.kit.management import create
from tests.kit.requests import ask
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.waiting import in_force

AddProvider = Callable[..., int]
_serial = count(1)


def new_provider(server: Sluice, name: str, base_url: str = "", **fields: Any) -> int:
    return int(create(server, "/api/providers", {"name": name, "base_url": base_url, **fields})["id"])


def add_provider(sluice: Sluice, url: str, name: str, models: Mapping[str, str], **fields: Any) -> None:
    """Create a provider with these models. It is in force when this returns."""
    new_provider(sluice, name, url, **{"models": dict(models), "credential": "default", **fields})
    probe = next(model for model in models if "*" not in model)

    def is_known() -> bool:
        listed = client_of(sluice).get("/v1/models").json()["data"]
        return any(model["id"] == probe for model in listed)

    assert processes.poll(is_known, timeout=20), "the provider is not in force"


def let_changes_arrive(router: Sluice, key: str) -> None:
    """Wait until this process has applied all changes so far. It applies them in order, so one more change shows it."""
    marker = f"marker-{next(_serial)}"
    provider_id = new_provider(router, marker, "http://127.0.0.1:9/v1", models={marker: ""}, weight=1)
    in_force(lambda: marker in ask(router, key, path="/v1/models", method="GET").text)
    router.api("DELETE", f"/api/providers/{provider_id}")
    in_force(lambda: marker not in ask(router, key, path="/v1/models", method="GET").text)
