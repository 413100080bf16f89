"""Errors have the shape of the address that was asked, whoever answers them."""

from __future__ import annotations

import json

import pytest

from proxy.endpoints import READ
from proxy.errors import NotFound
from proxy.shapes import body_of, shaped_body

ERROR = {"message": "No.", "type": "invalid_request_error", "param": "model", "code": "gone"}


@pytest.mark.parametrize("path", [*READ, "/v1/files", "/v1/unheard/of", "", "/elsewhere"])
def test_an_error_of_the_data_plane_is_its_dialects(path: str):
    assert json.loads(body_of(path, NotFound("gone", "No.", param="model"))) == {"error": ERROR}


@pytest.mark.parametrize(
    "status, kind", [(400, "invalid_request_error"), (499, "invalid_request_error"), (500, "api_error")]
)
def test_the_servers_own_errors_know_whose_fault_it_is(status: int, kind: str):
    told = json.loads(shaped_body("/v1/chat/completions", status, "No.", "gone"))
    assert told == {"error": {"message": "No.", "type": kind, "param": None, "code": "gone"}}


@pytest.mark.parametrize("path", ["/api/keys/", "/api/unheard"])
def test_an_error_of_the_management_api_is_its_own(path: str):
    assert json.loads(shaped_body(path, 404, "No.", "gone")) == {"detail": "No.", "code": "gone", "errors": {}}
