"""The rest of the API: models, files, and an echo that shows what arrived."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from providers.simulator.delivery import Plain
from providers.simulator.refusals import RefusedError
from providers.simulator.reply import CREATED

MODELS = ("simulator", "simulator-small", "simulator-embedding")
FIELD = re.compile(rb'name="purpose"\r\n\r\n([^\r]*)')
FILENAME = re.compile(rb'filename="([^"]*)"')
SHOWN_BYTES = 1000


def respond(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Plain:
    """The answer for these paths. Raises `RefusedError` with 404 for another path or method."""
    if path == "/echo" or path.startswith("/echo/"):
        return echo(method, path, headers, body)
    name = path.removeprefix("/models/")
    match method, path:
        case "GET" | "HEAD", "/models":
            return listing([model(each) for each in MODELS])
        case "GET" | "HEAD", _ if name in MODELS:
            return Plain(msgspec.json.encode(model(name)))
        case "GET" | "HEAD", _ if name != path:
            raise RefusedError(f"The model '{name}' does not exist.", status=404, param="model", code="model_not_found")
        case "POST", "/files":
            return Plain(msgspec.json.encode(file(body)))
        case "GET" | "HEAD", "/files":
            return listing([])
    raise RefusedError(f"Invalid URL ({method} {path})", status=404, code="unknown_url")


def listing(data: list[dict[str, Any]]) -> Plain:
    return Plain(msgspec.json.encode({"object": "list", "data": data}))


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "sluice"}


def file(body: bytes) -> dict[str, Any]:
    """The answer to an upload. Name and purpose are searched in the form, which is not parsed."""
    filename, purpose = FILENAME.search(body), FIELD.search(body)
    return {
        "id": f"file-sim{sha256(body).hexdigest()[:24]}",
        "object": "file",
        "bytes": len(body),
        "created_at": CREATED,
        "filename": filename[1].decode(errors="replace") if filename else "upload",
        "purpose": purpose[1].decode(errors="replace") if purpose else "user_data",
        "status": "processed",
    }


def echo(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Plain:
    """The request as JSON. Credentials are left out, because an echo ends up in logs and screenshots."""
    hidden = {"authorization", "api-key", "x-api-key", "cookie"}
    shown = {name: "…" if name in hidden else value for name, value in headers.items()}
    data = {
        "object": "simulator.echo",
        "method": method,
        "path": path,
        "headers": shown,
        "bytes": len(body),
        "sha256": sha256(body).hexdigest(),
        "body": body[:SHOWN_BYTES].decode(errors="replace"),
    }
    return Plain(msgspec.json.encode(data))
