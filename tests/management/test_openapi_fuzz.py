"""X38: requests made up from the OpenAPI document. No answer is one that the document does not tell of.

In the suite a few of them; with FUZZ_EXAMPLES=100 so many for each operation, and every case at the edge of its schema,
of which there are five thousand in all.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from keys.models import Account, Team, Tier
from tests.kit.rows import TOKEN, make_alert, make_credential, make_key, make_project, make_provider, make_record
from usage.models import AuditEntry, PriceOverride

IS_LONG = "FUZZ_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
EDGES_EVERY = 1 if IS_LONG else 12
"""Of the cases at the edges each so many-th is sent."""

schema = schemathesis.openapi.from_dict(
    json.loads(OpenApiJsonRenderer().render(SchemaGenerator().get_schema(public=True)))
)
# Not asked of this: its requests would be made while the tests are collected, when there is no database.
schema.app = get_wsgi_application()
schema.location = "/api/schema/?format=json"
# Not `negative_data_rejection`: the API takes a number for a name, 0 for false and "5" for 5, and drops nothing of it.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
edges: Counter[str] = Counter()
"""Cases at the edges so far, by operation."""


@pytest.fixture
def _one_connection(db: None) -> Iterator[None]:
    """Requests end without closing the connection that the test's transaction is on."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def owned_key() -> int:
    owner, team = User.objects.create_user("ann"), Team.objects.create(name="t", rpm=5)
    return int(make_key(owner=owner, team=team, budget=1, period="day").pk)


MADE: dict[str, Callable[[], Any]] = {
    "projects": lambda: make_project("p", budget=5).pk,
    "keys": owned_key,
    "teams": lambda: Team.objects.create(name="t", rpm=5).pk,
    "tiers": lambda: Tier.objects.create(name="t").pk,
    "users": lambda: Account.of(User.objects.create_user("ann")).public_id,
    "providers": lambda: make_provider().pk,
    "credentials": lambda: make_credential().pk,
    "requests": lambda: make_record().pk,
    "alerts": lambda: make_alert(until=2_000_000_000).pk,
    "prices": lambda: PriceOverride.objects.create(model="m", input=1, output=2).pk,
    "audit": lambda: AuditEntry.objects.create(actor_kind="system", action="create").pk,
    "usage": owned_key,
}
"""What makes a row of each noun and names it. Only what a path speaks of is made: there are seventy of them."""


@pytest.fixture
def row(_one_connection: None) -> Callable[[str], Any]:
    return cache(lambda noun: MADE[noun]() if noun in MADE else None)


@pytest.mark.timeout(3600 if IS_LONG else 120)
@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,  # a failure comes with the change that made it, not with luck
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if IS_LONG else [])],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_documented(case: Any, row: Callable[[str], Any]) -> None:
    if case.meta.phase.name == TestPhase.COVERAGE:
        edges[case.operation.label] += 1
        if edges[case.operation.label] % EDGES_EVERY:
            return
    named = row(case.path.split("/")[2])
    if "id" in case.path_parameters:
        case.path_parameters["id"] = named
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)
