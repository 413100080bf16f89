"""A key with a user, a team and a project of its own, and what each of them has spent."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

from tests.kit.management import create
from tests.kit.sluice import Sluice

SCOPES = ("key", "user", "team", "project", "global")


class Crew(NamedTuple):
    """A key with its user, team and project.

    `paths` and `ids` are by kind of scope: its path in the management API, and its id in the ledger's totals.
    """

    token: str
    paths: dict[str, str]
    ids: dict[str, str]

    def limit(self, server: Sluice, kind: str, **limits: Any) -> None:
        answer = server.api("PATCH", self.paths[kind], json=limits)
        assert answer.status_code == httpx.codes.OK, answer.text

    def shown(self, server: Sluice, kind: str) -> dict[str, Any]:
        answer = server.api("GET", self.paths[kind])
        assert answer.status_code == httpx.codes.OK, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def spent(self, server: Sluice, kind: str) -> int:
        """What the scope has spent according to the API, in picodollars. The scope must have a budget."""
        return int(Decimal(self.shown(server, kind)["spent"]).scaleb(12))


def new_crew(server: Sluice, **limits: dict[str, Any]) -> Crew:
    """Create a crew, with limits by kind of scope: `new_crew(server, key={"budget": "1"}, team={"rpm": 3})`."""
    name = f"crew-{secrets.token_hex(4)}"
    user = create(server, "/api/users", {"email": f"{name}@example.org", **limits.get("user", {})})
    team = create(server, "/api/teams", {"name": name, **limits.get("team", {})})
    project = create(server, "/api/projects", {"name": name, **limits.get("project", {})})
    belongs = {"owner": user["user"], "team": team["id"], "project": project["id"]}
    key = create(server, "/api/keys", {"name": name, **belongs, **limits.get("key", {})})
    paths = {
        "key": f"/api/keys/{key['id']}",
        "user": f"/api/users/{user['id']}",
        "team": f"/api/teams/{team['id']}",
        "project": f"/api/projects/{project['id']}",
        "global": "/api/limits/global",
    }
    ids = {"key": key["id"], "user": user["user"], "team": team["id"], "project": project["id"], "global": 1}
    return Crew(key["key"], paths, {kind: str(number) for kind, number in ids.items()})
