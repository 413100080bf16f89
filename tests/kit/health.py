"""`/health/detailed` of a running server."""

from __future__ import annotations

from typing import Any

import httpx

from tests.kit import plain
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.services import processes
from tests.kit.sluice import Sluice

WAIT_S = 20.0


def detailed(server: Sluice, token: str | None = MANAGEMENT_TOKEN) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return plain.get(f"{server.url}/health/detailed", headers=headers)


def health_of(server: Sluice) -> dict[str, Any]:
    document: dict[str, Any] = detailed(server).json()
    return document


def becomes(server: Sluice, part: str, status: str, overall: str, code: int = 200) -> dict[str, Any]:
    def is_so() -> bool:
        answer = detailed(server)
        document = answer.json()
        found = document["components"][part]["status"], document["status"], answer.status_code
        return found == (status, overall, code)

    assert processes.poll(is_so, timeout=WAIT_S, every=0.2), detailed(server).text
    return health_of(server)
