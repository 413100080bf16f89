"""X96: which header is a key, who is served without one, and what a project has kept of it, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from django.conf import settings

from keys.access import InvalidKey, KeyRefused
from keys.records import KeyRecord
from keys.tokens import Token, hash_secret, new_token, write_token
from proxy.bounds import Bounds
from proxy.capture import Capture
from proxy.components import Components
from proxy.exchange import Exchange
from proxy.steps.authenticate import authenticate, presented_token
from tests.kit.exchanges import JSON, exchange_of, key_of, project_of, snapshot_of

TOKEN = new_token()
TEXT = write_token(TOKEN, settings.KEY_PREFIX)
SALT = b"0123456789abcdef"


@pytest.mark.parametrize(
    "headers, token",
    [
        ({}, None),
        ({"authorization": "Bearer x"}, "x"),
        ({"authorization": "bEARER\t x "}, "x"),
        ({"authorization": "Bearer "}, ""),
        ({"authorization": "Bearer"}, None),
        ({"authorization": " bearer "}, None),
        ({"authorization": "Bearerx"}, "Bearerx"),
        ({"authorization": "Token x"}, "Token x"),
        ({"authorization": "Basic dTpw"}, None),
        ({"authorization": "BASIC dTpw"}, None),
        ({"authorization": "Basicx"}, "Basicx"),
        ({"authorization": ""}, None),
        ({"x-api-key": " x "}, "x"),
        ({"api-key": "x"}, "x"),
        ({"x-api-key": "x", "api-key": "y"}, "x"),
        ({"x-api-key": "", "api-key": "y"}, "y"),
        ({"authorization": "Basic dTpw", "x-api-key": "x"}, "x"),
        ({"authorization": "Token y", "x-api-key": "x"}, "x"),
        ({"authorization": "Bearer y", "x-api-key": "x"}, "y"),
        ({"authorization": "Bearer \xff"}, "\xff"),
    ],
)
def test_a_key_is_where_programs_put_it(headers: dict[str, str], token: str | None):
    fields = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    assert presented_token(fields) == token


def key_with(**fields: Any) -> KeyRecord:
    key = key_of(public_id=TOKEN.public_id, salt=SALT, secret_hash=hash_secret(TOKEN.secret, SALT), project_id=3)
    return msgspec.structs.replace(key, **fields)


def components_of(*keys: KeyRecord, require: bool = True, **projects: Any) -> Components:
    """Those that this step reads: what the process remembers, which keys are among, and the settings."""
    components = Components.__new__(Components)
    components.snapshot, components.bounds = snapshot_of(), Bounds.from_settings(settings)
    components.bounds = msgspec.structs.replace(components.bounds, require_key=require)
    components.snapshot._keys.update({key.public_id: key for key in keys})
    components.snapshot.projects = {3: project_of(id=3, **projects)}
    components.snapshot.default_project = project_of(id=9)
    return components


def outcome_of(
    components: Components, *headers: tuple[bytes, bytes], exchange: Exchange | None = None
) -> tuple[Exchange, str]:
    exchange = exchange or exchange_of("POST", "/v1/files", None, JSON, *headers)
    try:
        asyncio.run(authenticate(exchange, components))
    except KeyRefused as refusal:
        return exchange, refusal.code
    return exchange, "served"


BEARER = (b"authorization", f"Bearer {TEXT}".encode())


@pytest.mark.parametrize(
    "fields, code",
    [
        ({}, "served"),
        ({"is_revoked": True}, "key_revoked"),
        ({"is_active": False}, "key_inactive"),
        ({"expires_at": 1.0}, "key_expired"),
        ({"grace_until": 1.0}, "invalid_api_key"),
    ],
)
def test_a_key_is_known_by_its_row_also_where_it_is_refused_for_its_state(fields: dict[str, Any], code: str):
    key = key_with(**fields)
    components = components_of(key)
    exchange, outcome = outcome_of(components, BEARER)
    assert outcome == code
    assert exchange.key is key
    assert exchange.project is components.snapshot.projects[3]
    again, outcome = outcome_of(components, exchange=exchange_of("POST", "/v1/files", None, JSON, BEARER))
    assert (again.key, outcome) == (key, code)


def test_a_state_is_looked_at_for_each_request_of_a_connection():
    components = components_of(key_with(expires_at=2e9))
    exchange, outcome = outcome_of(components, BEARER)
    assert outcome == "served"
    exchange.started_at = 2e9
    assert outcome_of(components, exchange=exchange)[1] == "key_expired"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        TEXT[:-1],
        "other-" + TEXT,
        write_token(Token(TOKEN.public_id, new_token().secret), settings.KEY_PREFIX),
    ],
    ids=["no token", "cut", "of another prefix", "of another secret"],
)
def test_a_wrong_key_is_nobodys(text: str):
    exchange, outcome = outcome_of(components_of(key_with()), (b"authorization", f"Bearer {text}".encode()))
    assert outcome == InvalidKey.code
    assert (exchange.key, exchange.project, exchange.head.proven) == (None, None, None)


@pytest.mark.parametrize("header", [(), ((b"authorization", b"Basic dTpw"),)])
def test_without_a_key_the_default_projects_rules_hold_where_none_is_required(header: Any):
    exchange, outcome = outcome_of(components_of(), *header)
    assert (outcome, exchange.project) == ("missing_api_key", None)
    components = components_of(require=False)
    exchange, outcome = outcome_of(components, *header)
    assert (outcome, exchange.key, exchange.project) == ("served", None, components.snapshot.default_project)
    assert outcome_of(components, (b"x-api-key", b"wrong"))[1] == "invalid_api_key", "a wrong key is not none"


def test_a_key_of_a_project_that_is_gone_has_none():
    exchange, outcome = outcome_of(components_of(key_with(project_id=4)), BEARER)
    assert (outcome, exchange.project) == ("served", None)


@pytest.mark.parametrize("captures", ["", "all", "errors"])
def test_what_is_kept_of_a_request_is_what_its_project_says(captures: str):
    exchange, _ = outcome_of(components_of(key_with(), captures=captures), BEARER)
    assert (exchange.capture is not None) is bool(captures)
    logged = exchange_of("POST", "/v1/files", None, JSON, BEARER)
    logged.capture = capture = Capture(10)
    outcome_of(components_of(key_with(), captures=captures), exchange=logged)
    assert logged.capture is capture, "one that is there for the log goes on"
    assert capture.keeps == captures
